package service_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// short is a timeout that a test waits for; nothing that has to be in time comes near it.
const short = 200 * time.Millisecond

// took fails the test if less than a timeout of short has passed, or far more.
func took(t *testing.T, start time.Time) {
	t.Helper()
	if d := time.Since(start); d < short || d > short+3*time.Second {
		t.Errorf("it took %v, want %v or a little more", d, short)
	}
}

func TestHeadMustComeInTime(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), "limits.header_timeout=200ms")
	c := d.dial()
	if a := c.get("/"); a.status != 200 { // the timer is not the connection's but the head's
		t.Fatalf("status %d", a.status)
	}
	start := time.Now()
	c.send("GET / HTTP/1.1\r\nHost:")
	a := c.final(http.MethodGet)
	if a.status != 408 || a.class() != "bad_request" || !a.close {
		t.Errorf("got %d, class %q, close %v", a.status, a.class(), a.close)
	}
	c.ended()
	took(t, start)
}

func TestSlowlyTricklingHeadGetsNoMoreTime(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), "limits.header_timeout=200ms")
	c := d.dial()
	start := time.Now()
	over := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for _, b := range "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1000) {
			select {
			case <-over:
				return
			case <-tick.C:
				c.send(string(b))
			}
		}
	}()
	if a := c.final(http.MethodGet); a.status != 408 {
		t.Errorf("got %d", a.status)
	}
	close(over)
	took(t, start)
}

func TestIdleConnectionIsClosedSilently(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), "limits.idle_timeout=200ms")
	for name, c := range map[string]*client{"new": d.dial(), "unix": d.dialUnix(), "used": d.dial()} {
		t.Run(name, func(t *testing.T) {
			if name == "used" {
				c = d.dial() // the one above has been idle for too long by now
				c.get("/")
			}
			start := time.Now()
			if c.ended() {
				t.Error("the connection was reset")
			}
			if name == "used" {
				took(t, start)
			}
		})
	}
}

func TestPausingBodyEndsTheRequest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for name, head := range map[string]string{
		"length":  "Content-Length: 100\r\n\r\nhello",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var counter requestCounter
			upstream := p.upstream(t, counter.script)
			d := p.daemon(t, upstream, "limits.body_idle_timeout=200ms")
			c := d.dial()
			start := time.Now()
			c.send("POST / HTTP/1.1\r\nHost: a\r\n" + head)
			a := c.final(http.MethodPost)
			if a.status != 408 || a.class() != "bad_request" || !a.close {
				t.Errorf("got %d, class %q, close %v", a.status, a.class(), a.close)
			}
			took(t, start)
			c.ended()
			upstream.Wait(t, "the upstream's connection to close", func(st tlstest.Stats) bool { return st.Open == 0 })
			if len(counter.bodies) > 0 {
				t.Errorf("the upstream received a whole request with the body %q", counter.bodies)
			}
			if blamed := d.log.with("fault=upstream"); len(blamed) > 0 {
				t.Errorf("the upstream was blamed: %s", blamed)
			}
		})
	}
}

func TestSteadyBodyMayTakeLongerThanItsPauses(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	var counter requestCounter
	d := p.daemon(t, p.upstream(t, counter.script), "limits.body_idle_timeout=200ms")
	c := d.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
	for range 10 {
		pause(short / 4)
		c.send("x")
	}
	if a := c.final(http.MethodPost); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	endless := func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		c.Write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		block := strings.Repeat("x", 64<<10)
		for c.Write(block) == nil {
		}
	}
	upstream := p.upstream(t, endless)
	d := p.daemon(t, upstream, "limits.body_idle_timeout=200ms")
	c := d.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	upstream.Wait(t, "a connection", func(st tlstest.Stats) bool { return st.Requests == 1 })
	upstream.Wait(t, "the upstream's connection to close", func(st tlstest.Stats) bool { return st.Open == 0 })
	if a := c.final(http.MethodGet); !a.cut {
		t.Errorf("the answer looks complete, with %d bytes", len(a.body))
	}
	if blamed := d.log.with("fault=upstream"); len(blamed) > 0 {
		t.Errorf("the upstream was blamed: %s", blamed)
	}
}

func TestSlowUpstreamIsAnsweredFor(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	f := func(name, set string, script tlstest.Script, status int, cut bool) {
		t.Run(name, func(t *testing.T) {
			d := p.daemon(t, p.upstream(t, script), set)
			start := time.Now()
			c := d.dial()
			a := c.get("/")
			took(t, start)
			if a.status != status || a.cut != cut {
				t.Errorf("got %d, cut %v", a.status, a.cut)
			}
			if status == 504 && (a.class() != "upstream_timeout" || a.close) {
				t.Errorf("class %q, close %v", a.class(), a.close)
			}
			if blamed := d.log.with("fault=upstream"); len(blamed) != 1 {
				t.Errorf("want one line that blames the upstream, got %s", blamed)
			}
		})
	}
	silentBody := func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			c.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			c.WaitClosed()
		}
	}
	f("head", "upstream.default.timeout.response_header=200ms", tlstest.NeverAnswer(), 504, false)
	f("total", "upstream.default.timeout.total=200ms", tlstest.NeverAnswer(), 504, false)
	f("body", "upstream.default.timeout.idle=200ms", silentBody, 200, true)
	f("total in body", "upstream.default.timeout.total=200ms", silentBody, 200, true)
}

// Clients of old send an empty line behind a body. No request has begun with it.
func TestEmptyLineBehindABodyIsNoRequest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	c := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)), `limits.header_timeout="50ms"`).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\n")
	if a := c.final(http.MethodPost); a.status != 200 {
		t.Fatalf("got %d %q", a.status, a.body)
	}
	pause(200 * time.Millisecond) // longer than a head may take
	if a := c.get("/"); a.status != 200 {
		t.Errorf("then got %d %q", a.status, a.body)
	}
}
