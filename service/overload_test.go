package service_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

// needFiles skips the test where this process cannot have so many files open.
func needFiles(t *testing.T, files uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= files {
		return
	}
	raised := syscall.Rlimit{Cur: files, Max: max(files, limit.Max)} // only root may raise the hard limit
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		t.Skipf("SKIP: it takes %d descriptors, and there may be %d: %v", files, limit.Cur, err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
}

// large is the download that slow clients ask for: more than what buffers on its way hold.
const large = 8 << 20

// fill sends large downloads, counting what it could send, and reads uploads to their end.
func fill(sent *atomic.Int64) tlstest.Script {
	piece := strings.Repeat("x", 16<<10)
	return func(c *tlstest.Conn) {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if r.Method == http.MethodPost {
			c.ReadBody(r) // until the client leaves
			return
		}
		c.TCP.SetWriteBuffer(len(piece)) // the kernel would grow it to megabytes for each
		for err = c.Write("HTTP/1.1 200 OK\r\nContent-Length: " + itoa(large) + "\r\n\r\n"); err == nil; {
			err = c.Write(piece)
			sent.Add(int64(len(piece)))
		}
	}
}

// crawl is slow clients: those of each kind send one text and read nothing.
type crawl struct{ heads, uploads, downloads []net.Conn }

func (d *daemon) crawl(each int) *crawl {
	s := new(crawl)
	for range each {
		s.heads = append(s.heads, d.begin("GET / HTTP/1.1\r\nHost: slow.test\r\nX-Slow: "))
		s.uploads = append(s.uploads, d.begin("POST / HTTP/1.1\r\nHost: slow.test\r\nContent-Length: 100000\r\n\r\n"))
		s.downloads = append(s.downloads, d.begin("GET /large HTTP/1.1\r\nHost: slow.test\r\n\r\n"))
	}
	return s
}

// begin opens a connection and sends the text.
func (d *daemon) begin(text string) net.Conn {
	d.tb.Helper()
	nc, err := net.Dial("unix", d.unix)
	if err != nil {
		d.tb.Fatal(err)
	}
	d.tb.Cleanup(func() { nc.Close() })
	if _, err := io.WriteString(nc, text); err != nil {
		d.tb.Fatal(err)
	}
	return nc
}

// trickle sends a byte for one upload after the other, but for half of them, until it is told to stop.
func (s *crawl) trickle(t *testing.T) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i = (i + 2) % len(s.uploads) {
			select {
			case <-end:
				return
			case <-time.After(3 * time.Millisecond):
			}
			if _, err := io.WriteString(s.uploads[i], "x"); err != nil {
				t.Errorf("an upload ended: %v", err)
				return
			}
		}
	}()
	return func() { close(end); <-done }
}

// unanswered fails the test if the daemon has ended one of these connections, or said something on it.
func unanswered(t *testing.T, what string, conns []net.Conn) {
	t.Helper()
	for _, nc := range conns {
		nc.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, err := nc.Read(make([]byte, 200)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s got %d bytes, %v", what, n, err)
		}
	}
}

// Clients that send half a head and then nothing, or a body byte by byte, or read nothing of their answer, take from
// others no more than their places.
func TestSlowClientsHardlyDelayOthers(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIP: the race detector slows down what is measured")
	}
	const each, slow = 667, 3 * 667
	needFiles(t, 8192) // both ends of each client, and of the connection to the upstream of two thirds
	leak.Check(t)
	p := newPKI(t)
	var sent atomic.Int64
	far := tlstest.NewServer(t, tlstest.ServerOptions{CA: p.ca, Script: fill(&sent)})
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)),
		`upstream.slow.endpoints=["`+far.Addr+`"]`, "upstream.slow.identity=default", "upstream.slow.pool.max="+itoa(slow), "upstream.slow.pool.wait=30s",
		`route.slow.host=["slow.test"]`, "route.slow.upstream=slow", `route.slow.callers=["any"]`,
		"limits.header_timeout=1m", "limits.body_idle_timeout=1m", "upstream.slow.timeout.response_header=1m")
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
	begun := time.Now()
	s := d.crawl(each)
	far.Wait(t, "all of the slow to be at their upstream", func(st tlstest.Stats) bool { return st.Requests == 2*each })
	d.await("the downloads to come to a halt", func() bool {
		before := sent.Load()
		pause(100 * time.Millisecond)
		return before > 0 && sent.Load() == before
	})
	settled := time.Since(begun)
	stop := s.trickle(t)
	beside := p99()
	stop()
	t.Logf("p99 is %v alone and %v beside %d slow clients, who took %v to be there, and %d MiB of their downloads",
		alone, beside, slow, settled.Round(time.Millisecond), sent.Load()>>20)
	if floor := 2 * time.Millisecond; beside > max(3*alone, floor) {
		t.Errorf("p99 grew from %v to %v", alone, beside)
	}
	if st := far.Stats(); st.Open != 2*each || sent.Load() >= each*large {
		t.Errorf("of %d connections to their upstream %d are open, and %d bytes sent: not all are slow", 2*each, st.Open, sent.Load())
	}
	unanswered(t, "a half head", s.heads)
	unanswered(t, "an upload", s.uploads)
}
