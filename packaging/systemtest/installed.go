package main

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/load"
	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/machine"
	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/upstream"
)

// What the package installs, as its users know it.
const (
	service     = "mtlsproxy.service"
	httpSocket  = "mtlsproxy.socket"
	adminSocket = "mtlsproxy-admin.socket"

	tcpAddress = "127.0.0.1:8980"
	unixPath   = "/run/mtlsproxy/http.sock"
	adminPath  = "/run/mtlsproxy/admin.sock"

	mainConfig = "/etc/mtlsproxy/mtlsproxy.toml"
	confDir    = "/etc/mtlsproxy/mtlsproxy.d"
	siteConfig = confDir + "/50-site.toml"
	tlsDir     = "/etc/mtlsproxy/tls"
	stateDir   = "/var/lib/mtlsproxy"

	examples = "/usr/share/doc/mtlsproxy/examples/systemd"
)

var units = []string{service, httpSocket, adminSocket}

// Where the upstream of the site serves, and where it has its files.
const (
	upstreamAddress = "127.0.0.1:9443"
	upstreamDir     = "/run/systemtest"
)

// siteTables is a configuration with one upstream, for every local user.
const siteTables = `[identity.default]
cert = "` + tlsDir + `/client.crt"
key  = "` + tlsDir + `/client.key"
ca   = "` + tlsDir + `/ca.crt"

[upstream.echo]
endpoints = ["` + upstreamAddress + `"]

[[route]]
name     = "echo"
callers  = ["any"]
upstream = "echo"
`

func (t *trial) writeMode(name, content string, mode fs.FileMode) {
	// Names are relative to the root of the machine.
	rel := strings.TrimPrefix(name, "/")
	if err := t.m.Files.MkdirAll(path.Dir(rel), 0o755); err != nil {
		t.fatalf("making the directory of %s: %v", name, err)
	}
	if err := t.m.Files.WriteFile(rel, []byte(content), mode); err != nil {
		t.fatalf("writing %s: %v", name, err)
	}
	t.logf("wrote %s (%d bytes)\n", name, len(content))
}

func (t *trial) remove(name string) {
	if err := t.m.Files.Remove(strings.TrimPrefix(name, "/")); err != nil {
		t.fatalf("removing %s: %v", name, err)
	}
	t.logf("removed %s\n", name)
}

// install installs the package.
func (t *trial) install() { t.must("dpkg", "--install", debPath) }

// site installs the package and makes of it what a site has: an upstream that serves,
// an identity it knows, and a route to it.
func (t *trial) site() {
	t.install()
	t.upstream()
	t.write(siteConfig, siteTables)
	t.must("systemctl", "restart", service)
	t.answers()
}

// upstream starts an upstream, and puts an identity for it where the configuration of
// the site has it.
func (t *trial) upstream() {
	var err error
	if t.ca, err = upstream.NewAuthority(time.Now()); err != nil {
		t.fatalf("%v", err)
	}
	own, err := t.ca.Server()
	if err != nil {
		t.fatalf("%v", err)
	}
	t.writeMode(upstreamDir+"/"+caFile, string(t.ca.PEM()), 0o600)
	t.writeMode(upstreamDir+"/"+certFile, string(own.Cert), 0o600)
	t.writeMode(upstreamDir+"/"+keyFile, string(own.Key), 0o600)
	t.background("upstream", upstreamDir, upstreamAddress)
	t.write(tlsDir+"/ca.crt", string(t.ca.PEM()))
	t.identity("first")
}

// identity gives the site another client certificate, as careful tools do: key before
// certificate, each by renaming. The directory gives the files their group.
func (t *trial) identity(name string) {
	pair, err := t.ca.Client(name)
	if err != nil {
		t.fatalf("%v", err)
	}
	t.writeMode(tlsDir+"/.key", string(pair.Key), 0o640)
	t.writeMode(tlsDir+"/.crt", string(pair.Cert), 0o640)
	t.sh("cd " + tlsDir + "; mv .key client.key; mv .crt client.crt")
}

// get requests a path and returns status and body; the status is 0 if there was no
// answer within ten seconds.
func (t *trial) get(path string, flags ...string) (status int, body string) {
	r := t.run("curl", append([]string{"--silent", "--show-error", "--max-time", "10", "--write-out", `\n%{http_code}`, "http://" + tcpAddress + path}, flags...)...)
	return split(r.Stdout)
}

// split takes apart what curl wrote.
func split(out string) (status int, body string) {
	cut := strings.LastIndexByte(out, '\n')
	status, err := strconv.Atoi(out[cut+1:])
	if err != nil {
		return 0, out
	}
	return status, out[:max(cut, 0)]
}

// answers requires that both listeners answer with 200.
func (t *trial) answers() {
	for _, flags := range [][]string{nil, {"--unix-socket", unixPath}} {
		if status, body := t.get("/", flags...); status != 200 {
			t.fatalf("GET / %v: got %d %q, want 200", flags, status, body)
		}
	}
}

// later is a request that goes on while others come.
func (t *trial) later(path string) func() (status int, took time.Duration) {
	begun := time.Now()
	type answer struct {
		r    machine.Result
		err  error
		took time.Duration
	}
	done := make(chan answer, 1)
	go func() {
		r, err := t.m.Run(t.ctx, "curl", "--silent", "--max-time", "60", "--write-out", `\n%{http_code}`, "http://"+tcpAddress+path)
		done <- answer{r, err, time.Since(begun)}
	}()
	return func() (int, time.Duration) {
		a := <-done
		if a.err != nil {
			t.fatalf("GET %s: %v", path, a.err)
		}
		status, body := split(a.r.Stdout)
		t.logf("GET %s: %d %q after %.2f s\n", path, status, body, a.took.Seconds())
		return status, a.took
	}
}

// property is a property of a unit (systemctl show).
func (t *trial) property(unit, name string) string {
	return t.must("systemctl", "show", "--value", "--property="+name, unit)
}

// number is a property that is one.
func (t *trial) number(unit, name string) int {
	text := t.property(unit, name)
	n, err := strconv.Atoi(text)
	if err != nil {
		t.fatalf("%s of %s is %q, not a number", name, unit, text)
	}
	return n
}

// signal sends a signal to a process. There is no kill(1) but that of the shell.
func (t *trial) signal(name, pid string) { t.sh("kill -" + name + " " + pid) }

// active requires that units are.
func (t *trial) active(units ...string) {
	for _, unit := range units {
		if state := t.property(unit, "ActiveState"); state != "active" {
			t.errorf("%s is %s, not active", unit, state)
		}
	}
}

// since is when the sockets were opened: they stay open as long as it stays the same.
func (t *trial) since() string {
	return t.property(httpSocket, "ActiveEnterTimestampMonotonic") + " " + t.property(adminSocket, "ActiveEnterTimestampMonotonic")
}

// dropIn adds lines to a unit of the package.
func (t *trial) dropIn(unit, content string) {
	t.write("/etc/systemd/system/"+unit+".d/50-test.conf", content)
	t.must("systemctl", "daemon-reload")
}

// messages is all that the daemon and systemd have said of the service, since it was
// started last if last is true.
func (t *trial) messages(last bool) string {
	t.must("journalctl", "--sync")
	match := []string{"--output=cat", "--no-pager", "--unit=" + service}
	if last {
		id := t.property(service, "InvocationID")
		match = []string{"--output=cat", "--no-pager", "_SYSTEMD_INVOCATION_ID=" + id, "+", "INVOCATION_ID=" + id}
	}
	return t.must("journalctl", match...)
}

// says requires that a text tells of each of some words.
func (t *trial) says(where, text string, words ...string) {
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.errorf("%s does not say %q", where, word)
		}
	}
}

// usual is a load on both listeners: mostly connections that are kept.
func usual() load.Options {
	return load.Options{Addresses: []string{tcpAddress, unixPath}, Keep: 40, Fresh: 4, Every: 50 * time.Millisecond}
}

// counted notes a count for the report.
func (t *trial) counted(c load.Count) {
	t.notef("%d clients: %d sent, %d failed, %d closed, %d refused, slowest %.2f s", c.Clients, c.Sent, c.Failed, c.Closed, c.Refused, c.Slowest.Seconds())
}

// lostNothing requires that a load lost nothing.
func (t *trial) lostNothing(c load.Count) {
	t.counted(c)
	if c.Failed+c.Closed+c.Refused+c.Stray > 0 || c.Sent == 0 {
		t.errorf("of %d requests %d failed, %d connections were closed and %d refused, and on %d came what was no answer: %s",
			c.Sent, c.Failed, c.Closed, c.Refused, c.Stray, fmt.Sprint(c.Errors))
	}
}

// lostNoRequest requires that a load lost no request, though connections of it may have
// been closed between two of them.
func (t *trial) lostNoRequest(c load.Count) {
	t.counted(c)
	if c.Failed+c.Refused+c.Stray > 0 || c.Sent == 0 {
		t.errorf("of %d requests %d failed, %d connections were refused, and on %d came what was no answer: %v", c.Sent, c.Failed, c.Refused, c.Stray, c.Errors)
	}
}
