package service_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// askEnv makes the test binary a client that asks once and prints status and class; its value is a network and an
// address.
const askEnv = "MTLSPROXY_TEST_ASK"

func askAndTell(target string) int {
	network, address, _ := strings.Cut(target, " ")
	c, err := net.Dial(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	a, err := newClient(nil, c).next(http.MethodGet)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Print(a.status, " ", a.class())
	return 0
}

// nobody is a uid, and a gid, that no file of a test belongs to.
const nobody = 65534

// askAs asks once as another user, and returns status and class.
func askAs(t *testing.T, cred *syscall.Credential, network, address string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root can start a process as another user")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // its directory may be closed to that user
	cmd.Env = []string{askEnv + "=" + network + " " + address}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// openToAll lets every user connect to the daemon's unix socket.
func (d *daemon) openToAll() {
	d.tb.Helper()
	if err := os.Chmod(filepath.Dir(d.unix), 0o755); err != nil {
		d.tb.Fatal(err)
	}
	if err := os.Chmod(d.unix, 0o666); err != nil {
		d.tb.Fatal(err)
	}
}

func TestRouteServesItsCallersAndNobodyElse(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	uid, gid := os.Geteuid(), os.Getegid()
	for rule, want := range map[string]int{
		"any":                                     200,
		fmt.Sprint("uid:", uid):                   200,
		fmt.Sprintf("uid:%d-%d", uid, uid+1000):   200,
		fmt.Sprint("gid:", gid):                   200,
		fmt.Sprint("uid:", uid+1):                 403,
		fmt.Sprintf("uid:%d-%d", uid+1, uid+1000): 403,
		"gid:3999999999":                          403,
	} {
		t.Run(rule, func(t *testing.T) {
			d := p.daemon(t, up, `route.default.callers=["`+rule+`"]`)
			for network, c := range map[string]*client{"tcp": d.dial(), "unix": d.dialUnix()} {
				for range 2 { // the second is decided by what the first has found
					a := c.get("/")
					if a.status != want || want == 403 && a.class() != "caller_denied" {
						t.Errorf("%s: got %d, class %q, want %d", network, a.status, a.class(), want)
					}
				}
			}
		})
	}
}

func TestOfTwoUsersOneMayUseARoute(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	const group = 4242 // of the process only, as supplementary groups can be
	one := &syscall.Credential{Uid: nobody - 1, Gid: nobody - 1, Groups: []uint32{group}}
	other := &syscall.Credential{Uid: nobody - 2, Gid: nobody - 2}
	for rule, tcp := range map[string]string{
		fmt.Sprint("uid:", one.Uid): "200 ",
		fmt.Sprint("gid:", group):   "403 caller_denied", // over TCP, groups are those of the user database
	} {
		d := p.daemon(t, up, `route.default.callers=["`+rule+`"]`)
		d.openToAll()
		f := func(who *syscall.Credential, network, address, want string) {
			t.Helper()
			if got := askAs(t, who, network, address); got != want {
				t.Errorf("%s, uid %d over %s: got %q, want %q", rule, who.Uid, network, got, want)
			}
		}
		f(one, "unix", d.unix, "200 ")
		f(one, "tcp", d.tcp, tcp)
		f(other, "unix", d.unix, "403 caller_denied")
		f(other, "tcp", d.tcp, "403 caller_denied")
		if told := d.log.with("event=caller_denied uid=" + fmt.Sprint(other.Uid) + " route=default listener=http"); len(told) != 1 {
			t.Errorf("%d events tell of uid %d, want 1: %q", len(told), other.Uid, d.log.with("caller_denied"))
		}
	}
}

func TestDenialIsInRecordAndMetrics(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, strings.Replace(oneRoute(up.Addr), `"any"`, `"uid:3999999999"`, 1))
	for range 3 {
		o.dialUnix().get("/secret")
	}
	r := o.recorded(3)[0]
	if r.Caller == nil || int(*r.Caller) != os.Geteuid() || fmt.Sprintf("%d %s %s %s %d", r.Status, r.Class, r.Fault, r.Route, r.Attempts) != "403 caller_denied client r 0" {
		t.Errorf("the record is %+v", r)
	}
	if n := up.Stats().Requests; n != 0 {
		t.Errorf("%d requests went to the upstream", n)
	}
	want := `mtlsproxy_errors_total{route="r",upstream="u",class="caller_denied",fault="client"} 3`
	if text := o.scrape(); !strings.Contains(text, want) {
		t.Errorf("the metrics have no %s", want)
	}
	if told := o.log.with("event=caller_denied"); len(told) != 1 {
		t.Errorf("events: %q, want 1 for all three", told)
	}
}

func TestRuleThatNamesNobodyIsToldAndLetsNobodyIn(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), `route.default.callers=["user:no-such-user","group:no-such-group"]`)
	if a := d.dial().get("/"); a.status != 403 || a.class() != "caller_denied" {
		t.Errorf("got %d, class %q", a.status, a.class())
	}
	for _, name := range []string{"no-such-user", "no-such-group"} {
		if told := d.log.with(name); len(told) != 1 || !strings.Contains(told[0], "event=rule_unknown") || !strings.Contains(told[0], "[route.default] callers") {
			t.Errorf("%s: events %q", name, told)
		}
	}
}

func TestRuleThatNamesNobodyIsToldByCheckAndReloadAndStatusWhileItLasts(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	text := oneRoute(p.upstream(t, tlstest.Static(tlstest.OK)).Addr)
	o := p.operate(t, text)
	o.write(t, p, strings.Replace(text, `"any"`, `["uid:0", "user:no-such-user"]`, 1))
	check, err := o.admin.Check(t.Context())
	if err != nil || !check.OK || len(check.Notes) != 1 || !strings.Contains(check.Notes[0], "no-such-user") {
		t.Errorf("check: %+v, %v", check, err)
	}
	if h := o.status().Health; h.State != api.Healthy {
		t.Errorf("before the reload: %+v", h)
	}
	if r := o.reload(); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "no-such-user") {
		t.Errorf("reload: %+v", r)
	}
	if h := o.status().Health; h.State != api.Degraded || len(h.Reasons) != 1 || !strings.Contains(h.Reasons[0].Message, "no-such-user") {
		t.Errorf("with the rule: %+v", h)
	}
	o.write(t, p, text)
	if r := o.reload(); len(r.Notes) != 0 {
		t.Errorf("reload: %+v", r)
	}
	if h := o.status().Health; h.State != api.Healthy {
		t.Errorf("without the rule: %+v", h)
	}
}

func TestReloadChangesWhoMayUseARoute(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	if a := c.get("/"); a.status != 200 {
		t.Fatalf("got %d", a.status)
	}
	o.write(t, p, strings.Replace(oneRoute(up.Addr), `"any"`, `"gid:3999999999"`, 1))
	o.reload()
	if a := c.get("/"); a.status != 403 {
		t.Errorf("after the reload: got %d on a connection that was open before", a.status)
	}
}

// A page that has made a browser believe that its own name is an address of this host asks for that name.
func TestNameThatOthersHaveGivenThisHostIsNoRoute(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	text := strings.Replace(oneRoute(up.Addr), "host = \"*\"\n", "", 1) // hosts are the local names then
	o := p.operate(t, text)
	for host, want := range map[string]int{
		"localhost": 200, "127.0.0.1": 200, "[::1]": 200, "localhost:" + strings.Split(o.tcp, ":")[1]: 200,
		"rebound.example": 404, "127.0.0.1.rebound.example": 404, "localhost.rebound.example": 404, "127.0.0.2": 404,
	} {
		c := o.dial()
		c.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if a := c.final("GET"); a.status != want {
			t.Errorf("%s: got %d, want %d", host, a.status, want)
		}
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	set := append(routes(map[string]string{"open": `host=["*"] path=/open allow_cross_site=true`}), `route.default.path=/`)
	d := p.daemon(t, up, set...)
	f := func(host, fields string, want int) {
		t.Helper()
		for path, want := range map[string]int{"/": want, "/open": 200} {
			before := up.Stats().Requests
			c := d.dial()
			c.send("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.ReplaceAll(fields, "\n", "\r\n") + "\r\n\r\n")
			a := c.final("GET")
			if a.status != want || want == 403 && (a.class() != "caller_denied" || up.Stats().Requests != before) {
				t.Errorf("%s %s: got %d, class %q, want %d", path, fields, a.status, a.class(), want)
			}
		}
	}
	f("a", "X: y", 200)
	f("a", "Sec-Fetch-Site: none", 200)
	f("a", "Sec-Fetch-Site: same-origin\nOrigin: http://a", 200)
	f("a", "Sec-Fetch-Site: cross-site", 403)
	f("a", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate", 403)
	f("a", "sec-fetch-site: same-site", 403)
	f("a", "Sec-Fetch-Site: ", 403)
	f("a", "Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site", 403)
	f("a:8980", "Origin: http://a:8980", 200)
	f("a:8980", "Origin: http://A:8980", 200)
	f("a:80", "Origin: http://a", 200)
	f("a", "Origin: http://a:80", 200)
	f("a", "Origin: https://a:443", 200)
	f("[::1]:8980", "Origin: http://[::1]:8980", 200)
	f("a:8980", "Origin: http://a", 403)
	f("a", "Origin: http://a.test", 403)
	f("a", "Origin: http://b", 403)
	f("a", "Origin: null", 403)
	f("a", "Origin: ", 403)
	f("a", "Origin: a", 403)
	f("a", "Sec-Fetch-Site: same-origin\nOrigin: http://b", 403)
	f("a", "Referer: http://a/page", 200)
	f("a", "Referer: http://b/page", 403)
	f("a", "Referer: http://b/page\nSec-Fetch-Site: none", 200)
	f("a", "Connection: Origin\nOrigin: http://b", 403)
}

// scrape returns the metrics as text.
func (o *operated) scrape() string {
	o.tb.Helper()
	var b strings.Builder
	if err := o.admin.Metrics(o.tb.Context(), &b); err != nil {
		o.tb.Fatal(err)
	}
	return b.String()
}
