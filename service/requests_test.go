package service_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// lastHead is the newest request head that the upstream has seen.
func lastHead(t *testing.T, s *tlstest.Server) string {
	t.Helper()
	seen := s.Requests()
	if len(seen) == 0 {
		t.Fatal("the upstream has seen no request")
	}
	return string(seen[len(seen)-1].Head)
}

// checkHead looks for whole lines in a head and for texts that must not be there, in any spelling.
func checkHead(t *testing.T, head string, has, lacks []string) {
	t.Helper()
	for _, line := range has {
		if !strings.Contains(head, line+"\r\n") {
			t.Errorf("the line %q is missing in %q", line, head)
		}
	}
	for _, text := range lacks {
		if strings.Contains(strings.ToLower(head), strings.ToLower(text)) {
			t.Errorf("%q must not be in %q", text, head)
		}
	}
}

func TestRequestHeadAsTheUpstreamSeesIt(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	f := func(name string, set []string, request string, has, lacks []string) {
		t.Run(name, func(t *testing.T) {
			c := p.daemon(t, upstream, set...).dial()
			c.send(request)
			if a := c.final(http.MethodGet); a.status != 200 {
				t.Fatalf("got %d %q", a.status, a.body)
			}
			checkHead(t, lastHead(t, upstream), has, lacks)
		})
	}
	const get = "GET /x HTTP/1.1\r\nHost: A.test:80\r\n"
	set := func(s ...string) []string { return s }
	all := func(s ...string) []string { return s }

	f("absolute form", nil, "GET http://b.test:81/y?z HTTP/1.1\r\nHost: a\r\n\r\n",
		all("GET /y?z HTTP/1.1", "X-Forwarded-Host: b.test:81"), all(": a\r\n"))
	f("absolute form, client's host", set("route.default.host_header=client"), "GET http://b.test:81/y HTTP/1.1\r\nHost: a\r\n\r\n",
		all("GET /y HTTP/1.1", "Host: b.test:81"), nil)
	f("options asterisk", nil, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", all("OPTIONS * HTTP/1.1"), nil)
	f("max-forwards", nil, "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n", all("Max-Forwards: 2"), all("Max-Forwards: 3"))

	f("host of the upstream", nil, get+"\r\n", all("Host: "+upstream.Addr), all("Host: A.test:80\r\nVia"))
	f("host by server_name", set("upstream.default.server_name=upstream.test"), get+"\r\n",
		all("Host: upstream.test:"+port(upstream.Addr)), nil)
	f("host of the client", set("route.default.host_header=client"), get+"\r\n", all("Host: A.test:80"), nil)
	f("host written out", set("route.default.host_header=api.example:444"), get+"\r\n", all("Host: api.example:444"), nil)
	f("host of an old client without one", set("route.default.host_header=client"), "GET / HTTP/1.0\r\n\r\n", all("Host: "), nil)

	f("forwarded", nil, get+"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Proto: https\r\nX-Real-IP: 6.6.6.6\r\n\r\n",
		all("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: A.test:80", "X-Forwarded-Proto: http", `Forwarded: for=127.0.0.1;host="A.test:80";proto=http`),
		all("6.6.6.6", "https"))
	f("forwarded off", set("route.default.forwarded=false"), get+"X-Forwarded-For: 6.6.6.6\r\n\r\n", nil, all("forwarded"))

	f("fields set", set(`route.default.request_headers.set={X-Team="blue",Accept="text/plain"}`),
		get+"X-Team: red\r\nx-team: green\r\nAccept: */*\r\n\r\n", all("X-Team: blue", "Accept: text/plain"), all("red", "green", "*/*"))
	f("fields set over an alias", set(`route.default.request_headers.set={X-Team="blue"}`), get+"X_Team: red\r\n\r\n", all("X-Team: blue"), all("red"))
	f("fields removed", set(`route.default.request_headers.remove=["Cookie","X-Secret"]`),
		get+"Cookie: a\r\nX-SECRET: b\r\nX_Secret: c\r\nX-Kept: d\r\n\r\n", all("X-Kept: d"), all("cookie", "x-secret", "x_secret"))
	f("a set field that Connection names", set(`route.default.request_headers.set={X-Team="blue"}`),
		get+"Connection: X-Team, X-Request-Id, Via, Forwarded\r\n\r\n", all("X-Team: blue"), nil)

	f("strip prefix", set("route.default.path=/api", "route.default.strip_prefix=true"), "GET /api/v1?q HTTP/1.1\r\nHost: a\r\n\r\n", all("GET /v1?q HTTP/1.1"), nil)
	f("strip all", set("route.default.path=/api", "route.default.strip_prefix=true"), "GET /api?q HTTP/1.1\r\nHost: a\r\n\r\n", all("GET /?q HTTP/1.1"), nil)
	f("replace prefix", set("route.default.path=/api", "route.default.replace_prefix=/v2/x"), "GET /api/y HTTP/1.1\r\nHost: a\r\n\r\n", all("GET /v2/x/y HTTP/1.1"), nil)
	f("replace root", set("route.default.replace_prefix=/v2"), "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", all("GET /v2/y HTTP/1.1"), nil)
	f("replace by root", set("route.default.path=/api", "route.default.replace_prefix=/"), "GET /api/y HTTP/1.1\r\nHost: a\r\n\r\n", all("GET /y HTTP/1.1"), nil)
	f("replace prefix of the asterisk", set("route.default.replace_prefix=/v2"), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", all("OPTIONS * HTTP/1.1"), nil)
	long := strings.Repeat("p", 1200) // more than an exchange has at hand for such things
	f("replace prefix of a long path", set("route.default.path=/api", "route.default.replace_prefix=/v2"),
		"GET /api/"+long+" HTTP/1.1\r\nHost: a\r\n\r\n", all("GET /v2/"+long+" HTTP/1.1"), nil)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

func TestUnixClientIsForwardedAsUnknown(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	p.daemon(t, upstream).dialUnix().get("/", "X-Forwarded-For: 6.6.6.6")
	checkHead(t, lastHead(t, upstream), []string{`Forwarded: for=unknown;host="a";proto=http`}, []string{"x-forwarded-for"})
}

func TestResponseHeadAsTheClientSeesIt(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nServer: x\r\nX-Secret: 1\r\nx-MiXed: a\r\n"+
		"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nMtlsproxy-Error: internal\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok"))
	d := p.daemon(t, upstream, `route.default.response_headers.set={Server="y"}`, `route.default.response_headers.remove=["X-Secret"]`)
	c := d.dial()
	c.get("/")
	checkHead(t, string(c.received()),
		[]string{"HTTP/1.1 200 Fine", "Server: y", "x-MiXed: a", "Set-Cookie: a=1\r\nSet-Cookie: b=2", "Content-Length: 2"},
		[]string{"server: x", "x-secret", "x-hop", "keep-alive", "connection", "mtlsproxy-error"})
	if !regexp.MustCompile(`\r\nVia: 1\.1 mtlsproxy-[0-9a-f]+\r\n`).Match(c.received()) {
		t.Errorf("no Via in %q", c.received())
	}
}

func TestRequestID(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	made := regexp.MustCompile(`^[0-9a-f]{24}$`)
	id := func(t *testing.T) string {
		m := regexp.MustCompile(`\r\nX-Request-Id: ([^\r]*)\r\n`).FindAllStringSubmatch(lastHead(t, upstream), -1)
		if len(m) != 1 {
			t.Fatalf("%d request ids in %q", len(m), lastHead(t, upstream))
		}
		return m[0][1]
	}
	makes, accepts := p.daemon(t, upstream), p.daemon(t, upstream, "route.default.request_id=accept")
	f := func(name string, d *daemon, want string, fields ...string) {
		t.Run(name, func(t *testing.T) {
			d.dial().get("/", fields...)
			if got := id(t); want != "" && got != want || want == "" && !made.MatchString(got) {
				t.Errorf("the upstream got the id %q, want %q", got, want)
			}
		})
	}
	f("made", makes, "")
	f("the client's is dropped", makes, "", "X-Request-Id: mine")
	f("accepted", accepts, "mine", "X-Request-ID: mine")
	f("the first is accepted", accepts, "one", "X-Request-Id: one", "x-request-id: two")
	f("an alias is none", accepts, "", "X_Request_Id: mine")
	f("made if there is none", accepts, "")
	f("too long", accepts, "", "X-Request-Id: "+strings.Repeat("x", 129))
	f("unfit for logs", accepts, "", "X-Request-Id: a b")
	f("not ASCII", accepts, "", "X-Request-Id: \xe9")
	before := id(t)
	makes.dial().get("/")
	makes.dial().get("/")
	if id(t) == before {
		t.Error("an id was given twice")
	}
}

func TestRequestThatComesBackIsRefused(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	d := p.daemon(t, upstream)
	c := d.dial()
	c.get("/", "Via: 1.1 other", "Via: 1.0 another (comment)") // both stay, and ours comes behind
	via := regexp.MustCompile(`\r\nVia: 1\.1 other\r\nVia: 1\.0 another \(comment\)\r\n(?:.*\r\n)*?Via: 1\.1 (mtlsproxy-[0-9a-f]+)\r\n`).FindStringSubmatch(lastHead(t, upstream))
	if via == nil {
		t.Fatalf("Via in %q", lastHead(t, upstream))
	}
	a := c.get("/", "Via: 1.1 other, 1.1 "+via[1])
	if a.status != 508 || a.class() == "" || a.close {
		t.Errorf("a loop was answered with %+v", a)
	}
	if other := p.daemon(t, upstream).dial().get("/", "Via: 1.1 "+via[1]); other.status != 200 {
		t.Errorf("another daemon in the chain was taken for a loop: %d", other.status)
	}
}
