package service_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// waiting is an upstream that answers a request when it is told to.
type waiting struct {
	arrived chan struct{} // one for each request
	answer  chan string
}

func newWaiting() *waiting {
	return &waiting{arrived: make(chan struct{}, 16), answer: make(chan string)}
}

func (w *waiting) script(c *tlstest.Conn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if _, err := c.ReadBody(r); err != nil {
			return
		}
		w.arrived <- struct{}{}
		closed := make(chan struct{})
		go func() {
			c.R.Peek(1) // the next request cannot come before the answer: only an end
			close(closed)
		}()
		select {
		case text := <-w.answer:
			c.Write(text)
			<-closed
		case <-closed:
			return
		}
	}
}

// next waits for a request to arrive.
func (w *waiting) next(t *testing.T) {
	t.Helper()
	select {
	case <-w.arrived:
	case <-time.After(patience):
		t.Fatal("no request reaches the upstream")
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Echo())
	d := p.daemon(t, upstream)
	c := d.dial()
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n%03d", i, i)
	}
	c.send(text.String())
	for i := range 20 {
		a := c.final(http.MethodPost)
		if want := fmt.Sprintf("/%d", i); a.header.Get("Echo-Target") != want || a.body != fmt.Sprintf("%03d", i) {
			t.Fatalf("answer %d is that to %s, body %q", i, a.header.Get("Echo-Target"), a.body)
		}
	}
	if st := upstream.Stats(); st.Accepted != 1 || st.Requests != 20 {
		t.Errorf("the upstream saw %+v", st)
	}
}

// TestRefusedClientReadsTheWholeAnswer has clients go on sending while they are refused. Without a staged close the
// kernel would answer their bytes with a reset, and that would take the answer away from them (RFC 9112 9.6).
func TestRefusedClientReadsTheWholeAnswer(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)))
	block := strings.Repeat("x", 16<<10)
	for i := range 50 {
		c := d.dial()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			c.send("POST / HTTP/1.1\r\nHost: a\r\nX : y\r\nContent-Length: 500000\r\n\r\n")
			for range 30 {
				c.send(block)
			}
			c.closeWrite()
		}()
		<-sent // the answer has been waiting for long
		a := c.final(http.MethodPost)
		if a.status != 400 || a.cut || !strings.HasSuffix(a.body, "\n") {
			t.Fatalf("client %d got %d %q, cut %v", i, a.status, a.body, a.cut)
		}
		if c.ended() {
			t.Fatalf("client %d was reset", i)
		}
		c.close()
	}
}

func TestLingeringIsBounded(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)))
	c := d.dial()
	c.send("BAD\r\n\r\n")
	if a := c.final(http.MethodGet); a.status != 400 {
		t.Fatalf("status %d", a.status)
	}
	start := time.Now()
	block := strings.Repeat("x", 64<<10)
	for { // until a write fails
		c.conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err := c.conn.Write([]byte(block)); err != nil {
			break
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the service went on reading for %v", d)
	}
}

func TestOldClientIsAnsweredAndClosed(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"))
	d := p.daemon(t, upstream)
	for name, fields := range map[string]string{"plain": "", "keep-alive": "Host: a\r\nConnection: keep-alive\r\n"} {
		t.Run(name, func(t *testing.T) {
			c := d.dial()
			c.send("GET / HTTP/1.0\r\n" + fields + "\r\n")
			a := c.final(http.MethodGet)
			if a.status != 200 || a.body != "hello" || a.cut || !a.close {
				t.Errorf("got %+v", a)
			}
			c.ended()
			if raw := c.received(); bytes.Contains(bytes.ToLower(raw), []byte("transfer-encoding")) || bytes.Contains(raw, []byte("X-Sum")) {
				t.Errorf("an HTTP/1.0 client received %q", raw)
			}
		})
	}
	if st := upstream.Stats(); st.Accepted != 1 { // what the client does with its connection is its own affair
		t.Errorf("%d upstream connections, want 1", st.Accepted)
	}
}

func TestHalfClosedClientGetsASlowAnswer(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for name, dial := range map[string]func(*daemon) *client{"tcp": (*daemon).dial, "unix": (*daemon).dialUnix} {
		t.Run(name, func(t *testing.T) {
			w := newWaiting()
			d := p.daemon(t, p.upstream(t, w.script))
			c := dial(d)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			c.closeWrite()
			w.next(t)
			pause(1200 * time.Millisecond) // it is looked after twice a second
			w.answer <- tlstest.OK
			if a := c.final(http.MethodGet); a.status != 200 || a.body != "ok" || a.cut {
				t.Errorf("got %+v", a)
			}
			c.ended()
		})
	}
}

// TestClientThatGoesAwayCancelsItsRequest measures how long the upstream works for nobody.
func TestClientThatGoesAwayCancelsItsRequest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	const body = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegun"
	f := func(name string, dial func(*daemon) *client, request string, leave func(*client)) {
		t.Run(name, func(t *testing.T) {
			upstream := p.upstream(t, func(c *tlstest.Conn) {
				if _, err := c.ReadRequest(); err == nil {
					c.WaitClosed()
				}
			})
			d := p.daemon(t, upstream)
			c := dial(d)
			c.send(request)
			upstream.Wait(t, "the request", func(st tlstest.Stats) bool { return st.Requests == 1 })
			start := time.Now()
			leave(c)
			upstream.Wait(t, "the connection to close", func(st tlstest.Stats) bool { return st.Open == 0 })
			if d := time.Since(start); d > 1500*time.Millisecond {
				t.Errorf("the request was cancelled after %v", d)
			}
			if lines := d.log.with("fault="); len(lines) > 0 {
				t.Errorf("somebody was blamed: %s", lines)
			}
			other := d.dial()
			other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			upstream.Wait(t, "another connection", func(st tlstest.Stats) bool { return st.Accepted == 2 && st.Requests == 2 })
		})
	}
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	f("tcp close", (*daemon).dial, get, (*client).close)
	f("tcp reset", (*daemon).dial, get, (*client).reset)
	f("unix close", (*daemon).dialUnix, get, (*client).close)
	f("tcp close behind more requests", (*daemon).dial, get+get, (*client).close)
	f("tcp close within the body", (*daemon).dial, body, (*client).close)
	f("tcp reset within the body", (*daemon).dial, body, (*client).reset)
	f("tcp half-close within the body", (*daemon).dial, body, (*client).closeWrite)
	f("unix close within the body", (*daemon).dialUnix, body, (*client).close)
}

func TestClientThatGoesAwayDuringTheAnswerFreesTheUpstream(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			c.Write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegun")
			c.WaitClosed()
		}
	})
	d := p.daemon(t, upstream)
	for name, dial := range map[string]func(*daemon) *client{"tcp": (*daemon).dial, "unix": (*daemon).dialUnix} {
		t.Run(name, func(t *testing.T) {
			c := dial(d)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if _, err := c.in.Peek(1); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			c.close()
			upstream.Wait(t, "the connection to close", func(st tlstest.Stats) bool { return st.Open == 0 })
			if d := time.Since(start); d > 1500*time.Millisecond {
				t.Errorf("the upstream was let go after %v", d)
			}
		})
	}
}

func TestClientThatGoesAwayLeavesTheQueue(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	upstream := p.upstream(t, w.script)
	d := p.daemon(t, upstream, "upstream.default.pool.max=1", "upstream.default.pool.wait=10s")
	first, second := d.dial(), d.dial()
	first.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	second.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
	second.close()
	pause(1200 * time.Millisecond)
	w.answer <- tlstest.OK
	if a := first.final(http.MethodGet); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	d.shutdown()
	if st := upstream.Stats(); st.Requests != 1 {
		t.Errorf("the upstream saw %d requests, want 1", st.Requests)
	}
}
