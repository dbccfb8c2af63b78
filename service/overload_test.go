package service_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// worked answers after a time of work.
func worked(work time.Duration) tlstest.Script {
	return func(c *tlstest.Conn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			pause(work)
			if c.Write(tlstest.OK) != nil {
				return
			}
		}
	}
}

// pressed is what clients got that send as fast as they are answered.
type pressed struct {
	served, refused atomic.Int64
	mu              sync.Mutex
	refusals        []time.Duration
	most            atomic.Int64 // goroutines
}

// press has some clients send for a while.
func (d *daemon) press(t *testing.T, clients int, long time.Duration) *pressed {
	t.Helper()
	p := new(pressed)
	var all sync.WaitGroup
	end := time.Now().Add(long)
	for range clients {
		c := d.dial()
		all.Go(func() {
			for time.Now().Before(end) {
				begun := time.Now()
				c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				a, err := c.next(http.MethodGet)
				switch {
				case err != nil:
					t.Errorf("no answer: %v", err)
					return
				case a.status == 200:
					p.served.Add(1)
				case a.status == 503 && a.class() == "overloaded" && a.header.Get("Retry-After") != "":
					p.refused.Add(1)
					p.mu.Lock()
					p.refusals = append(p.refusals, time.Since(begun))
					p.mu.Unlock()
					pause(10 * time.Millisecond) // a client that comes back too soon, but not at once
				default:
					t.Errorf("got %d, class %q", a.status, a.class())
				}
				if n := int64(runtime.NumGoroutine()); n > p.most.Load() {
					p.most.Store(n)
				}
			}
		})
	}
	all.Wait()
	slices.Sort(p.refusals)
	return p
}

// With twice as many clients as may be served at one time, as much is served as before, and the others are told so.
func TestOverloadKeepsWhatIsServedAndTellsTheRest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, worked(10*time.Millisecond)), "route.default.limit.in_flight=8")
	const long = 1500 * time.Millisecond
	before := d.press(t, 8, long)
	if before.refused.Load() > 0 {
		t.Errorf("at the capacity %d were refused", before.refused.Load())
	}
	under := d.press(t, 16, long)
	peak, goodput := before.served.Load(), under.served.Load()
	if goodput*100 < peak*80 {
		t.Errorf("%d are served at twice the capacity, %d at the capacity: want at least 80 %%", goodput, peak)
	}
	if len(under.refusals) == 0 {
		t.Fatal("nobody was refused")
	}
	middle := under.refusals[len(under.refusals)/2]
	t.Logf("served %d, at twice the capacity %d and refused %d, in %v by the middle, %v at most; %d goroutines, %d before",
		peak, goodput, under.refused.Load(), middle, under.refusals[len(under.refusals)-1], under.most.Load(), before.most.Load())
	if middle > 50*time.Millisecond {
		t.Errorf("refusals take %v", middle)
	}
	if grown := under.most.Load() - before.most.Load(); grown > 8*5 { // those of the clients themselves are among them
		t.Errorf("%d goroutines more for 8 clients more", grown)
	}
}

// Clients that send half a head and then nothing, or read nothing of their answer, take from others no more than their
// places.
func TestSlowClientsHardlyDelayOthers(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIP: the race detector slows down what is measured")
	}
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)))
	c := d.dial()
	p99 := func() time.Duration {
		const n = 1000
		var all []time.Duration
		for range n {
			begun := time.Now()
			if a := c.get("/"); a.status != 200 {
				t.Fatalf("got %d, class %q", a.status, a.class())
			}
			all = append(all, time.Since(begun))
		}
		slices.Sort(all)
		return all[n*99/100]
	}
	p99() // warm
	alone := p99()
	const slow = 2000
	var held []net.Conn
	defer func() {
		for _, nc := range held {
			nc.Close()
		}
	}()
	for range slow {
		nc, err := net.Dial("unix", d.unix)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
	}
	beside := p99()
	t.Logf("p99 is %v alone and %v beside %d slow clients", alone, beside, slow)
	if floor := 2 * time.Millisecond; beside > max(3*alone, floor) {
		t.Errorf("p99 grew from %v to %v", alone, beside)
	}
}
