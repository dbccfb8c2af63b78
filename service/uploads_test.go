package service_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// A long body is read into the buffer in which its head stood. What is needed of the head must not change with it.

// headAware answers HEAD without a body, after the whole request.
func headAware(c *tlstest.Conn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if _, err := c.ReadBody(r); err != nil {
			return
		}
		response := tlstest.OK
		if r.Method == http.MethodHead {
			response = strings.TrimSuffix(response, "ok")
		}
		if c.Write(response) != nil {
			return
		}
	}
}

// hangUp reads the whole request and closes without an answer.
func hangUp(c *tlstest.Conn) {
	if r, err := c.ReadRequest(); err == nil {
		c.ReadBody(r)
	}
}

func TestLongBodyDoesNotChangeTheMethod(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, headAware)
	passes, fails := p.daemon(t, upstream), p.daemon(t, p.upstream(t, hangUp))
	f := func(method, word string) {
		t.Run(method+" with "+word, func(t *testing.T) {
			body := strings.Repeat(word, 50_000)
			request := fmt.Sprintf("%s / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body)
			c := passes.dial()
			for range 2 {
				go c.send(request)
				if a := c.final(method); a.status != 200 || (a.body == "ok") != (method != "HEAD") || a.cut {
					t.Errorf("got %+v", a)
				}
			}
			c = fails.dial() // which may be closed afterwards, if the upstream was faster than the end of the upload
			go c.send(request)
			if a := c.final(method); a.status != 502 || (a.body == "") != (method == "HEAD") {
				t.Errorf("got %+v", a)
			}
		})
	}
	f("POST", "HEAD")
	f("HEAD", "POST")
	if st := upstream.Stats(); st.Accepted != 1 {
		t.Errorf("%d upstream connections, want 1", st.Accepted)
	}
}

func TestLongBodyDoesNotChangeTheRequestID(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, hangUp), "route.default.request_id=accept")
	c := d.dial()
	body := strings.Repeat("\r\nX-Evil: 1\r\n", 20_000)
	go c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	a := c.final(http.MethodPost)
	if a.status != 502 || a.header.Get("X-Request-Id") != "mine" || a.header.Get("X-Evil") != "" || !strings.Contains(a.body, "(request mine)") {
		t.Errorf("got %+v", a)
	}
	if len(d.log.with("id=mine ")) != 1 {
		t.Errorf("the log has %q", d.log.with("id="))
	}
}
