package service_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// routes is a configuration of routes that all lead to upstream "default" and tell their name in the answer.
func routes(routes map[string]string) (set []string) {
	for name, keys := range routes {
		set = append(set, "route."+name+`.upstream=default`, "route."+name+`.callers=["any"]`,
			fmt.Sprintf(`route.%s.response_headers.set={X-Route="%s"}`, name, name))
		for key := range strings.FieldsSeq(keys) {
			set = append(set, "route."+name+"."+key)
		}
	}
	return set
}

func TestMostSpecificRouteWins(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	set := append(routes(map[string]string{
		"port":   `host=["a.test:81"]`,
		"http":   `host=["a.test:80"]`,
		"name":   `host=["a.test","b.a.test"]`,
		"deep":   `host=["a.test"] path=/api/v1`,
		"api":    `host=["a.test"] path=/api`,
		"post":   `host=["a.test"] path=/api method=["POST","PUT"]`,
		"other":  `host=["a.test"] path=/api listener=["other"]`,
		"sub":    `host=["*.a.test"]`,
		"subsub": `host=["*.b.a.test"]`,
		"v6":     `host=["[::1]"]`,
		"any":    `host=["*"] path=/any`,
	}), `listener.other.address=["127.0.0.1:0"]`, `route.default.host=["default.test"]`)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), set...)
	f := func(method, target, host, want string) {
		t.Helper()
		c := d.dial()
		c.send(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		a := c.final(method)
		if got := a.header.Get("X-Route"); got != want || want == "" && (a.status != 404 || a.class() != "no_route") {
			t.Errorf("%s %s at %s took route %q, want %q; status %d", method, target, host, got, want, a.status)
		}
	}
	f("GET", "/", "a.test:81", "port")
	f("GET", "/", "a.test:80", "http")
	f("GET", "/", "a.test", "http") // 80 is what the scheme stands for
	f("GET", "/", "a.test:82", "name")
	f("GET", "/", "A.TEST.:82", "name")
	f("GET", "/", "a.test.:81", "port")
	f("GET", "http://a.test:81/", "b.test", "port")
	f("GET", "/api/v1", "a.test:82", "deep")
	f("GET", "/api/v1/x?y=/../..", "a.test:82", "deep")
	f("GET", "/api/v1x", "a.test:82", "api")
	f("GET", "/api", "a.test:82", "api")
	f("GET", "/api?x", "a.test:82", "api")
	f("GET", "/apix", "a.test:82", "name")
	f("GET", "/Api", "a.test:82", "name")
	f("POST", "/api/x", "a.test:82", "post")
	f("post", "/api/x", "a.test:82", "api")
	f("GET", "/", "x.a.test", "sub")
	f("GET", "/", "x.y.a.test:99", "sub")
	f("GET", "/", "x.b.a.test", "subsub")
	f("GET", "/", "b.a.test", "name")
	f("GET", "/", "xa.test", "")
	f("GET", "/", "[::1]:80", "v6")
	f("GET", "/any", "nobody.test", "any")
	f("GET", "/", "nobody.test", "")
	f("OPTIONS", "*", "a.test:82", "name")
	f("OPTIONS", "*", "nobody.test", "")

	other := d.dialTo("tcp", d.service.Addresses()[2].String())
	if a := other.get("http://a.test:82/api"); a.header.Get("X-Route") != "other" {
		t.Errorf("the other listener's request took route %q", a.header.Get("X-Route"))
	}
}

func TestPathThatWouldTakeAnotherRouteOnceDecodedIsRefused(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	set := append(routes(map[string]string{"admin": `host=["*"] path=/admin`, "api": `host=["*"] path=/api`}), `route.default.host=["default.test"]`)
	d := p.daemon(t, upstream, set...)
	f := func(path, want string) {
		t.Helper()
		before := upstream.Stats().Requests
		a := d.dial().get(path)
		if want == "" {
			if a.status != 400 || a.class() != "bad_request" || upstream.Stats().Requests != before {
				t.Errorf("%s got %d, class %q", path, a.status, a.class())
			}
			return
		}
		if a.header.Get("X-Route") != want || !strings.Contains(lastHead(t, upstream), "GET "+path+" HTTP/1.1\r\n") {
			t.Errorf("%s took route %q, want %q", path, a.header.Get("X-Route"), want)
		}
	}
	f("/api/../admin", "")
	f("/api/%2e%2e/admin", "")
	f("/api/..%2fadmin", "")
	f("/api%2f..%2fadmin", "")
	f("/%61dmin", "")
	f("//admin", "")
	f("/./admin", "")
	f("/admin/..", "")
	f("/admin%2f", "")
	f("/api/..%5cadmin", "")
	f("/%2e%2e/admin", "")
	f("/api/../../admin", "")
	f("/api/..", "")
	f("/api/x/../y", "api")
	f("/api/%61dmin", "api")
	f("/api//admin", "api")
	f("/api/a%2fb", "api")
	f("/api/...", "api")
	f("/api/.well-known/x", "api")
	f("/api/?/../admin", "api")
	f("/admin;a=1/x", "")
	f("/admin;/x", "")
	f("/admin%3bx", "")
	f("/%2561dmin", "")
	f("/api/%252e%252e/admin", "")
	f("/api/x;v=1/y", "api")
	f("/api/%2561dmin", "api")
	f("/api/.", "api")
}

func TestOwnAnswers(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	f := func(name string, d *daemon, request string, status int, class, hint string, closes bool) {
		t.Run(name, func(t *testing.T) {
			c := d.dial()
			c.send(request)
			method, _, _ := strings.Cut(request, " ")
			a := c.final(method)
			if a.status != status || a.class() != class || a.close != closes || a.cut {
				t.Errorf("got %d, class %q, close %v", a.status, a.class(), a.close)
			}
			id := a.header.Get("X-Request-Id")
			if want := fmt.Sprintf("mtlsproxy: %s (request %s): ", class, id); method != "HEAD" &&
				(id == "" || !strings.HasPrefix(a.body, want) || !strings.Contains(a.body, hint) || strings.Count(a.body, "\n") != 1) {
				t.Errorf("the text is %q, want %q and %q", a.body, want, hint)
			}
			if kind := a.header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
				t.Errorf("its type is %q", kind)
			}
			if a.header.Get("Content-Length") == "" || a.header.Get("Via") != "" {
				t.Errorf("header %v", a.header)
			}
			if retry := a.header.Get("Retry-After"); (retry != "") != (status == 503) {
				t.Errorf("Retry-After is %q", retry)
			}
			if !closes { // and the connection really goes on
				c.send("GET /nowhere HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
				if a := c.final(http.MethodGet); a.status == 400 {
					t.Errorf("the next request got %d %q", a.status, a.body)
				}
			}
		})
	}
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	good := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), `route.default.host=["a"]`, "route.default.path=/", "limits.header_bytes=8KiB")
	f("bad request", good, "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, "bad_request", "colon", true)
	f("bad request in an old version", good, "GET /\x01 HTTP/1.0\r\n\r\n", 400, "bad_request", "target", true)
	f("head too large", good, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 9000)+"\r\n\r\n", 431, "bad_request", "large", true)
	f("no route", good, "GET / HTTP/1.1\r\nHost: b\r\n\r\n", 404, "no_route", "mtlsproxyd check", false)
	f("no route, HEAD", good, "HEAD / HTTP/1.1\r\nHost: b\r\n\r\n", 404, "no_route", "", false)
	f("no route, body at hand", good, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhello", 404, "no_route", "", false)
	f("no route, chunked body at hand", good, "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 404, "no_route", "", false)
	f("no route, body to come", good, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhe", 404, "no_route", "", true)
	f("no route, broken body", good, "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 404, "no_route", "", true)
	f("no route, asked to close", good, "GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", 404, "no_route", "", true)
	f("no route, old client", good, "GET / HTTP/1.0\r\nHost: b\r\n\r\n", 404, "no_route", "", true)
	f("expectation", good, "POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello", 417, "bad_request", "expectation", true)

	stopped := p.upstream(t, tlstest.Static(tlstest.OK))
	down := p.daemon(t, stopped, "upstream.default.breaker.failures=0")
	stopped.Close()
	f("upstream down", down, get, 502, "connect_failed", "cannot be reached", false)
	f("upstream down, body at hand", down, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 502, "connect_failed", "", false)
	f("upstream down, body to come", down, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nhe", 502, "connect_failed", "", true)
	f("upstream closes", p.daemon(t, p.upstream(t, tlstest.CloseBeforeResponse(tlstest.CloseNotify))), get, 502, "upstream_reset", "closed the connection", false)
	f("upstream answers nonsense", p.daemon(t, p.upstream(t, tlstest.Static("hello\r\n\r\n"))), get, 502, "upstream_bad_response", "breaks the protocol", false)

	other := newPKI(t)
	f("unknown certificate of the upstream", p.daemon(t, other.upstream(t, nil)), get, 502, "tls_verify_failed", "server_name", false)
	refusing := tlstest.NewServer(t, tlstest.ServerOptions{CA: p.ca, RefuseClient: true})
	f("client certificate refused", p.daemon(t, refusing), get, 502, "client_cert_rejected", "refused our client certificate", false)
	plain := tlstest.NewServer(t, tlstest.ServerOptions{CA: p.ca, BeforeHandshake: tlstest.Plaintext("HTTP/1.1 200 OK\r\n\r\n")})
	f("upstream without TLS", p.daemon(t, plain), get, 502, "tls_failed", "TLS", false)
	stalled := tlstest.NewServer(t, tlstest.ServerOptions{CA: p.ca, BeforeHandshake: tlstest.Stall})
	f("handshake too slow", p.daemon(t, stalled, "upstream.default.timeout.handshake=200ms"), get, 504, "connect_timeout", "in time", false)
}

func TestFullPoolIsAnswered(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	d := p.daemon(t, p.upstream(t, w.script), "upstream.default.pool.max=1", "upstream.default.pool.wait=200ms")
	first := d.dial()
	first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	a := d.dial().get("/")
	if a.status != 503 || a.class() != "overloaded" || a.close || a.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", a)
	}
	w.answer <- tlstest.OK
	if a := first.final(http.MethodGet); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}
