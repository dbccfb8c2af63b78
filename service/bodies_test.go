package service_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestResponsesWithoutBody(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	f := func(name, method, response string, status int, has, lacks string) {
		t.Run(name, func(t *testing.T) {
			upstream := p.upstream(t, tlstest.Static(response))
			d := p.daemon(t, upstream)
			c := d.dial()
			for range 2 { // what is not there must not be waited for, and nothing else be taken for it
				c.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
				if a := c.final(method); a.status != status || a.body != "" || a.close {
					t.Errorf("got %+v", a)
				}
			}
			raw := string(c.received())
			if !strings.Contains(raw, has) || lacks != "" && strings.Contains(raw, lacks) {
				t.Errorf("received %q", raw)
			}
			if st := upstream.Stats(); st.Accepted != 1 {
				t.Errorf("%d upstream connections, want 1", st.Accepted)
			}
		})
	}
	f("head with length", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "Content-Length: 5\r\n", "")
	f("head with coding", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", "\r\n0\r\n")
	f("head without framing", "HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200, "", "Content-Length")
	f("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", "Content-Length")
	f("204 with length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, "", "Content-Length")
	f("304", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304, "ETag: \"x\"\r\n", "Content-Length")
	f("304 with length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "Content-Length: 5\r\n", "")
	f("empty", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "Content-Length: 0\r\n", "")
	f("empty chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "0\r\n\r\n", "")
}

func TestTrailersPassBothWays(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 2\r\nSet-Cookie: evil=1\r\n\r\n"))
	d := p.daemon(t, upstream)
	c := d.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
	a := c.final(http.MethodPost)
	if a.trailer.Get("X-Sum") != "2" || a.trailer.Get("Set-Cookie") != "" {
		t.Errorf("the client got the trailers %v", a.trailer)
	}
	received := upstream.Received()
	if !bytes.HasSuffix(received, []byte("0\r\nX-Sum: 1\r\n\r\n")) || bytes.Contains(received, []byte("6.6.6.6")) {
		t.Errorf("the upstream received %q", received)
	}
	if !bytes.Contains(received, []byte("\r\nTrailer: X-Sum\r\n")) || !bytes.Contains(c.received(), []byte("\r\nTrailer: X-Sum\r\n")) {
		t.Errorf("the announcement is missing")
	}
}

// What a route sets or removes could otherwise come in behind the body: many
// programs put trailers among the fields of the head.
func TestTrailersEndWhereARouteEditsFields(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Tenant: evil\r\n\r\n"))
	c := p.daemon(t, upstream, `route.default.request_headers.set={X-Tenant="us"}`, `route.default.response_headers.remove=["X-Tenant"]`).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Tenant: evil\r\n\r\n")
	if a := c.final(http.MethodPost); a.status != 200 || a.body != "ok" {
		t.Fatalf("got %d %q", a.status, a.body)
	}
	if received := upstream.Received(); bytes.Contains(received, []byte("evil")) || !bytes.Contains(received, []byte("X-Tenant: us\r\n")) {
		t.Errorf("the upstream got %q", received)
	}
	if bytes.Contains(c.received(), []byte("evil")) {
		t.Errorf("the client got %q", c.received())
	}
}

func TestTrailersOfASlowBodyPass(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	d := p.daemon(t, upstream)
	c := d.dial()
	for i, piece := range []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "lo\r\n0\r\nX-S", "um: 1\r\n", "\r\n"} {
		if i > 0 {
			pause(writePause)
		}
		c.send(piece)
	}
	if a := c.final(http.MethodPost); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if received := upstream.Received(); !bytes.HasSuffix(received, []byte("0\r\nX-Sum: 1\r\n\r\n")) {
		t.Errorf("the upstream received %q", received)
	}
	if c.get("/").status != 200 {
		t.Error("the connection cannot be used any more")
	}
}

// mirror answers with the request's body, after the whole of it.
func mirror(c *tlstest.Conn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		body, err := c.ReadBody(r)
		if err != nil || c.Write(tlstest.Response(200, string(body))) != nil {
			return
		}
	}
}

func TestBodiesOfAllSizesPassUnchanged(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, mirror))
	c := d.dial()
	for _, size := range []int{0, 1, 100, 4 << 10, 15 << 10, 16<<10 - 1, 16 << 10, 16<<10 + 1, 33 << 10, 1 << 20, 3<<20 + 7} {
		body := strings.Repeat("0123456789abcdef"[:1+size%16], size/(1+size%16)+1)[:size]
		for name, request := range map[string]string{
			"length":  "Content-Length: " + itoa(size) + "\r\n\r\n" + body,
			"chunked": "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 5000) + "0\r\n\r\n",
		} {
			go c.send("POST / HTTP/1.1\r\nHost: a\r\n" + request)
			if a := c.final(http.MethodPost); a.status != 200 || a.cut || a.body != body {
				t.Fatalf("%s: of %d bytes %d came back, cut %v", name, size, len(a.body), a.cut)
			}
		}
	}
}
