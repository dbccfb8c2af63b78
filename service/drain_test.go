package service_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// term sends the first signal and waits until the service drains.
func (d *daemon) term() {
	d.tb.Helper()
	d.signals <- syscall.SIGTERM
	d.await("draining to begin", func() bool { return len(d.log.with("INFO draining")) > 0 && d.refuses() })
}

// refuses reports whether the service accepts no more connections.
func (d *daemon) refuses() bool {
	nc, err := new(net.Dialer).DialContext(context.Background(), "tcp", d.tcp)
	if err == nil {
		nc.Close()
	}
	return err != nil
}

// await waits for a condition that nothing announces.
func (d *daemon) await(what string, condition func() bool) {
	d.tb.Helper()
	for end := time.Now().Add(patience); !condition(); pause(time.Millisecond) {
		if time.Now().After(end) {
			d.tb.Fatalf("waiting for %s", what)
		}
	}
}

// ends waits for Run to return.
func (d *daemon) ends() {
	d.tb.Helper()
	d.stop.Do(func() {
		select {
		case err := <-d.done:
			if err != nil {
				d.tb.Errorf("the service ended with %v", err)
			}
		case <-time.After(patience):
			d.tb.Fatal("the service does not end")
		}
	})
}

func TestDrainClosesIdleAndFinishesTheRest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	d := p.daemon(t, p.upstream(t, w.script))
	fresh, freshUnix := d.dial(), d.dialUnix()
	used, usedUnix, busy, begun := d.dial(), d.dialUnix(), d.dial(), d.dial()
	for _, c := range []*client{used, usedUnix, busy, begun} { // then those before them have been accepted as well
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		w.next(t)
		w.answer <- tlstest.OK
		c.final(http.MethodGet)
	}
	busy.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	begun.send("GET /begun HTTP/1.1\r\nHo") // its head is on its way
	start := time.Now()
	d.term()
	for name, c := range map[string]*client{"fresh": fresh, "fresh unix": freshUnix, "used": used, "used unix": usedUnix} {
		if c.ended() {
			t.Errorf("the %s connection was reset", name)
		}
	}
	begun.send("st: a\r\n\r\n")
	w.next(t)
	w.answer <- tlstest.OK
	w.answer <- tlstest.OK
	for name, c := range map[string]*client{"busy": busy, "begun": begun} {
		if a := c.final(http.MethodGet); a.status != 200 || a.body != "ok" || !a.close {
			t.Errorf("the %s connection got %+v", name, a)
		}
		c.ended()
	}
	d.ends()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("draining took %v", d)
	}
}

func TestDrainTellsClientsWhenItsBudgetEnds(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.NeverAnswer())
	d := p.daemon(t, upstream, "drain.timeout=1s")
	c := d.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	upstream.Wait(t, "the request", func(st tlstest.Stats) bool { return st.Requests == 1 })
	start := time.Now()
	d.term()
	a := c.final(http.MethodGet)
	if a.status != 503 || a.class() != "draining" || !a.close || a.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", a)
	}
	d.ends()
	if d := time.Since(start); d < 700*time.Millisecond || d > 3*time.Second {
		t.Errorf("draining took %v, want about 1s", d)
	}
}

func TestDrainCutsWhatIsLeftAtItsEnd(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	f := func(name, set string, signals int, min time.Duration) {
		t.Run(name, func(t *testing.T) {
			upstream := p.upstream(t, func(c *tlstest.Conn) {
				if _, err := c.ReadRequest(); err == nil {
					c.Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
					c.WaitClosed()
				}
			})
			tunnels := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { c.WaitClosed() }))
			d := p.daemon(t, upstream, set, `upstream.ws.endpoints=["`+tunnels.Addr+`"]`,
				`route.ws.host=["*"]`, "route.ws.path=/ws", "route.ws.upstream=ws", `route.ws.callers=["any"]`)
			c, tunnel := d.dial(), d.dial()
			tunnel.upgrade()
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			c.readUntil("hello")
			start := time.Now()
			d.term()
			if signals > 1 {
				d.signals <- syscall.SIGTERM
			}
			d.ends()
			if d := time.Since(start); d < min || d > min+3*time.Second {
				t.Errorf("draining took %v, want %v", d, min)
			}
			if !c.ended() {
				t.Error("an answer that was cut was not reset")
			}
			tunnel.ended()
		})
	}
	f("budget", "drain.timeout=300ms", 1, 300*time.Millisecond)
	f("no budget", "drain.timeout=0s", 1, 0)
	f("second signal", "drain.timeout=60s", 2, 0)
}

func TestDrainEndsAPipelineAfterTheExchangeOnItsWay(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	upstream := p.upstream(t, w.script)
	d := p.daemon(t, upstream)
	c := d.dial()
	c.send(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 3))
	w.next(t)
	d.term()
	w.answer <- tlstest.OK
	if a := c.final(http.MethodGet); a.status != 200 || !a.close {
		t.Errorf("got %+v", a)
	}
	c.ended()
	d.ends()
	if st := upstream.Stats(); st.Requests != 1 {
		t.Errorf("the upstream saw %d requests, want 1: the others were never answered", st.Requests)
	}
}

func TestListenerThatFailsEndsTheService(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)))
	d.dial().get("/") // it serves
	d.service.Close() // takes the listeners away
	d.stop.Do(func() {
		if err := <-d.done; err == nil || !strings.Contains(err.Error(), `listener "http"`) {
			t.Errorf("the service ended with %v", err)
		}
	})
}

func TestIdleDaemonEndsIfItShould(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := startIdling(t, p, p.upstream(t, tlstest.Static(tlstest.OK)), 200*time.Millisecond)
	c := d.dial()
	if a := c.get("/"); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	pause(400 * time.Millisecond) // a connection that says nothing is a connection
	if a := c.get("/"); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	c.close()
	d.ends()
}
