package service_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// failing answers some requests with a status, and those after them with 200.
func failing(times int64, status int) tlstest.Script {
	var n atomic.Int64
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if _, err := c.ReadBody(r); err != nil {
				return
			}
			response := tlstest.OK
			if n.Add(1) <= times {
				response = tlstest.Response(status, "not now")
			}
			if c.Write(response) != nil {
				return
			}
		}
	}
}

func TestRouteSaysWhatIsSentAgain(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	f := func(name, retry, method string, want, requests int) {
		t.Run(name, func(t *testing.T) {
			up := p.upstream(t, failing(2, 503))
			o := p.operate(t, oneRoute(up.Addr, "retry = { attempts = 3 }")+retry+"\n")
			c := o.dial()
			c.send(method + " / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 1\r\nContent-Length: 5\r\n\r\nhello")
			a := c.final(method)
			if n := up.Stats().Requests; a.status != want || n != requests {
				t.Errorf("got %d after %d requests, want %d after %d", a.status, n, want, requests)
			}
			if r := o.recorded(1)[0]; r.Attempts != requests {
				t.Errorf("the record has %d attempts, want %d", r.Attempts, requests)
			}
		})
	}
	f("nothing", "", "GET", 503, 1)
	f("a status", "retry = { statuses = [503] }", "GET", 200, 3)
	f("so many times", "retry = { statuses = [503], attempts = 2 }", "GET", 503, 2)
	f("another status", "retry = { statuses = [502] }", "GET", 503, 1)
	f("a method", `retry = { statuses = [503], methods = ["PUT"] }`, "PUT", 200, 3)
	f("another method", `retry = { statuses = [503], methods = ["PUT"] }`, "GET", 503, 1)
	f("what is not idempotent", "retry = { statuses = [503] }", "POST", 503, 1)
}

func TestOpenBreakerIsToldAtOnceAndForHowLong(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.CloseBeforeResponse(tlstest.CloseNotify))
	o := p.operate(t, oneRoute(up.Addr, `breaker = { failures = 2, open_min = "20s", open_max = "60s" }`))
	c := o.dial()
	for range 2 {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		if a := c.final(http.MethodPost); a.status != 502 {
			t.Fatalf("got %d, class %q", a.status, a.class())
		}
	}
	a := c.get("/")
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 503 || a.class() != "breaker_open" || err != nil || after < 5 || after > 60 {
		t.Errorf("got %d, class %q, Retry-After %q", a.status, a.class(), a.header.Get("Retry-After"))
	}
	if n := up.Stats().Requests; n != 2 {
		t.Errorf("the upstream got %d requests, want 2", n)
	}
	if r := o.recorded(3)[2]; fmt.Sprint(r.Class) != "breaker_open" || !strings.Contains(o.scrape(), `class="breaker_open"`) {
		t.Errorf("the record is %+v", r)
	}
}
