package front

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// room has so many seats, and each caller so many of them.
type room struct {
	mu          sync.Mutex
	total, each int
	of          map[int64]int
}

type chair struct {
	room   *room
	caller int64
	known  bool
}

func (r *room) Enter() (Seat, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.total == 0 {
		return nil, false
	}
	r.total--
	return &chair{room: r}, true
}

func (c *chair) Claim(caller int64) bool {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	if c.room.each > 0 && c.room.of[caller] == c.room.each {
		return false
	}
	if c.room.of == nil {
		c.room.of = make(map[int64]int)
	}
	c.room.of[caller]++
	c.caller, c.known = caller, true
	return true
}

func (c *chair) Leave() {
	c.room.mu.Lock()
	defer c.room.mu.Unlock()
	c.room.total++
	if c.known {
		c.room.of[c.caller]--
	}
}

func (r *room) free() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

func (r *room) taken(caller int64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[caller]
}

func limits(eachCaller bool) Limits {
	return Limits{Limits: http1.DefaultLimits(), HeaderTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute, EachCaller: eachCaller}
}

// await waits for a condition that nothing announces.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// purse is a budget.
type purse struct{ left atomic.Int64 }

func (p *purse) Acquire(n int64) bool {
	if p.left.Add(-n) < 0 {
		p.left.Add(n)
		return false
	}
	return true
}

func (p *purse) Release(n int64) { p.left.Add(n) }

// told answers with why an exchange is not carried.
func told(x *Exchange) {
	text := "carried"
	if err := x.Crowded(); err != nil {
		text = err.Error()
	}
	x.Answer(200, "OK", nil, text)
}

// exchange sends a request and returns the text of the answer and whether the connection goes on.
func exchange(t *testing.T, c net.Conn) (text string, goesOn bool) {
	t.Helper()
	if _, err := io.WriteString(c, get); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	head, text, _ := strings.Cut(string(b[:n]), "\r\n\r\n")
	return text, !strings.Contains(head, "Connection: close")
}

func wantExchange(t *testing.T, c net.Conn, want error) {
	t.Helper()
	text := "carried"
	if want != nil {
		text = want.Error()
	}
	if got, goesOn := exchange(t, c); got != text || goesOn != (want == nil) {
		t.Errorf("got %q, and the connection goes on: %v; want %q", got, goesOn, text)
	}
}

func TestConnectionWithoutASeatIsToldSoAndEnds(t *testing.T) {
	leak.Check(t)
	r := &room{total: 1}
	_, dial := serve(t, told, func(s *Server) { s.Seats = r })
	first, second := dial(), dial()
	wantExchange(t, first, nil)
	wantExchange(t, second, ErrFull)
	if _, err := io.ReadAll(second); err != nil {
		t.Errorf("it ended with %v", err)
	}
	wantExchange(t, first, nil)
	first.Close()
	await(t, func() bool { return r.free() > 0 })
	wantExchange(t, dial(), nil)
}

func TestConnectionsWithoutASeatAreBounded(t *testing.T) {
	leak.Check(t)
	s, dial := serve(t, told, func(s *Server) { s.Seats = new(room) })
	var silent []net.Conn
	for range maxExcess {
		silent = append(silent, dial())
	}
	await(t, func() bool { return s.excess.Load() == maxExcess })
	if b, err := io.ReadAll(dial()); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) || s.Connections() != maxExcess {
		t.Errorf("%d connections; the last got %q, %v, want it to be closed", s.Connections(), b, err)
	}
	begun := time.Now()
	for _, c := range silent {
		io.ReadAll(c) // they send nothing, and so end
	}
	if d := time.Since(begun); d > crowdTime+3*time.Second {
		t.Errorf("they ended after %v", d)
	}
	await(t, func() bool { return s.excess.Load() == 0 })
	wantExchange(t, dial(), ErrFull)
}

func TestCallerHasSoManySeats(t *testing.T) {
	leak.Check(t)
	for name, early := range map[string]bool{"with the first exchange": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			_, dial := serve(t, told, func(s *Server) {
				s.Seats = &room{total: 10, each: 1}
				s.Who = func(net.Conn) int64 { return 7 }
				s.Limit(limits(early))
			})
			first := dial()
			wantExchange(t, first, nil)
			wantExchange(t, dial(), ErrCallerFull)
			wantExchange(t, first, nil)
		})
	}
}

func TestSilentConnectionsOfACallerCountIfTheyAreBounded(t *testing.T) {
	leak.Check(t)
	seats := &room{total: 10, each: 1}
	_, dial := serve(t, told, func(s *Server) {
		s.Seats = seats
		s.Who = func(net.Conn) int64 { return 7 }
		s.Limit(limits(true))
	})
	dial()
	await(t, func() bool { return seats.taken(7) == 1 })
	wantExchange(t, dial(), ErrCallerFull)
}

func TestConnectionsBeyondTheirCallersLimitLeaveRoomForOthers(t *testing.T) {
	leak.Check(t)
	const total = maxExcess + 2
	for name, early := range map[string]bool{"with the first exchange": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			seats := &room{total: total, each: 1}
			var who atomic.Int64
			who.Store(7)
			s, dial := serve(t, told, func(s *Server) {
				s.Seats = seats
				s.Who = func(net.Conn) int64 { return who.Load() }
				s.Limit(limits(early))
			})
			begin := func() net.Conn {
				c := dial()
				io.WriteString(c, get[:1]) // and no more of the head
				return c
			}
			begin()
			await(t, func() bool { return seats.taken(7) == 1 })
			begun := time.Now()
			var refused []net.Conn
			for range maxExcess {
				refused = append(refused, begin())
			}
			await(t, func() bool { return s.excess.Load() == maxExcess && seats.free() == total-1 })
			if b, err := io.ReadAll(begin()); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("one more got %q, %v, want it to be closed", b, err)
			}
			await(t, func() bool { return seats.free() == total-1 && s.Connections() == 1+maxExcess })
			who.Store(9)
			wantExchange(t, dial(), nil)
			for _, c := range refused {
				io.ReadAll(c)
			}
			if d := time.Since(begun); d > crowdTime+3*time.Second {
				t.Errorf("they ended after %v", d)
			}
			await(t, func() bool { return s.excess.Load() == 0 })
		})
	}
}

func TestExchangeWithoutMemoryIsToldSo(t *testing.T) {
	leak.Check(t)
	p := new(purse)
	p.left.Store(exchangeMemory)
	under, goOn := make(chan struct{}), make(chan struct{})
	_, dial := serve(t, func(x *Exchange) {
		if string(x.Request.Path) == "/slow" {
			under <- struct{}{}
			<-goOn
		}
		told(x)
	}, func(s *Server) { s.Memory = p })
	idle := dial()
	wantExchange(t, idle, nil) // and holds nothing after it
	slow := dial()
	io.WriteString(slow, strings.Replace(get, "/", "/slow", 1))
	<-under
	wantExchange(t, dial(), ErrMemory)
	close(goOn)
	slow.Read(make([]byte, 1))
	await(t, func() bool { return p.left.Load() == exchangeMemory })
	wantExchange(t, idle, nil)
}

func TestPanicGivesSeatAndMemoryBack(t *testing.T) {
	leak.Check(t)
	p, r := new(purse), &room{total: 1}
	p.left.Store(exchangeMemory)
	_, dial := serve(t, func(*Exchange) { panic("BUG: on purpose") }, func(s *Server) { s.Memory, s.Seats = p, r })
	ask(t, dial(), get)
	await(t, func() bool { return r.free() > 0 })
	if p.left.Load() != exchangeMemory {
		t.Errorf("%d bytes are left, want %d", p.left.Load(), exchangeMemory)
	}
}

func TestTunnelHoldsNoMemoryForExchanges(t *testing.T) {
	leak.Check(t)
	for name, ahead := range map[string]string{"nothing is sent ahead": "", "a frame is sent ahead": "an early frame"} {
		t.Run(name, func(t *testing.T) {
			p := new(purse)
			p.left.Store(exchangeMemory)
			_, dial := serve(t, func(x *Exchange) {
				if string(x.Request.Path) != "/tunnel" {
					told(x)
					return
				}
				x.Head(101, []byte("Switching Protocols"), nil, http1.NoBody, -1)
				tunnel, _ := x.Tunnel()
				for got := ""; ; {
					buf, n, err := tunnel.Read(x.conn.server.Buffers)
					if err != nil {
						if got != ahead {
							t.Errorf("the tunnel brought %q, want %q", got, ahead)
						}
						return
					}
					got += string(buf[:n])
					x.conn.server.Buffers.Put(buf)
				}
			}, func(s *Server) { s.Memory = p })
			c := dial()
			io.WriteString(c, strings.Replace(get, "/", "/tunnel", 1)+ahead)
			if _, err := c.Read(make([]byte, rawconn.BufferSize)); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return p.left.Load() == exchangeMemory })
			wantExchange(t, dial(), nil)
		})
	}
}

func TestCallerIsLookedUpOnceAndAnewAfterAFailure(t *testing.T) {
	leak.Check(t)
	var asked atomic.Int64
	_, dial := serve(t, func(x *Exchange) {
		who, err := x.Who()
		text := "unknown"
		if err == nil && who.UID == 7 && x.Caller() == 7 {
			text = "seven"
		}
		x.Answer(200, "OK", nil, text)
	}, func(s *Server) {
		s.Identify = func(net.Conn) (caller.Caller, error) {
			if asked.Add(1) == 1 {
				return caller.Caller{UID: caller.None}, errors.New("not now")
			}
			return caller.Caller{UID: 7, GIDs: []uint32{8}}, nil
		}
	})
	c := dial()
	for i, want := range []string{"unknown", "seven", "seven", "seven"} {
		if got, _ := exchange(t, c); got != want {
			t.Errorf("exchange %d: got %q, want %q", i, got, want)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	if got, _ := exchange(t, dial()); got != "seven" || asked.Load() != 3 {
		t.Errorf("another connection: got %q, asked %d times", got, asked.Load())
	}
}

func TestConnectionThatIsFoundToBeOfTwoCallersIsOfNone(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		text := "known"
		if who, err := x.Who(); err != nil && who.UID == caller.None && x.Caller() == NoCaller {
			text = "unknown"
		}
		x.Answer(200, "OK", nil, text)
	}, func(s *Server) {
		s.Who = func(net.Conn) int64 { return 7 }
		s.Identify = func(net.Conn) (caller.Caller, error) { return caller.Caller{UID: 8}, nil }
	})
	c := dial()
	for i := range 3 {
		if got, _ := exchange(t, c); got != "unknown" {
			t.Errorf("exchange %d: the caller is %s", i, got)
		}
	}
}

func TestCallerOfAnAdoptedConnectionIsLookedUpAnew(t *testing.T) {
	leak.Check(t)
	r := &room{total: 1}
	s, _ := serve(t, func(x *Exchange) {
		if who, err := x.Who(); err != nil || who.UID != 9 || x.Caller() != 9 {
			t.Errorf("got %+v, %v", who, err)
		}
		told(x)
	}, func(s *Server) {
		s.Who = func(net.Conn) int64 { return 9 }
		s.Identify = func(net.Conn) (caller.Caller, error) { return caller.Caller{UID: 9}, nil }
		s.Seats = r
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !s.Adopt(NewListener(l, "http"), near) || r.free() != 0 {
		t.Fatal("it was not taken, or has no seat")
	}
	wantExchange(t, far, nil)
}

func TestWithoutAWayToAskNobodyIsKnown(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		if who, err := x.Who(); err == nil || who.UID != caller.None {
			t.Errorf("got %+v, %v", who, err)
		}
		told(x)
	})
	wantExchange(t, dial(), nil)
}

// What is larger than a buffer takes more memory, and is answered where there is none.
func TestHeadForWhichThereIsNoMemoryIsToldSo(t *testing.T) {
	leak.Check(t)
	for name, more := range map[string]int64{"enough": 2 * (64<<10 - rawconn.BufferSize), "a byte too little": 2*(64<<10-rawconn.BufferSize) - 1} {
		t.Run(name, func(t *testing.T) {
			p := new(purse)
			p.left.Store(exchangeMemory + more)
			_, dial := serve(t, func(x *Exchange) {
				if x.Broken != nil && x.Broken != ErrCrowded {
					t.Errorf("the head is broken: %v", x.Broken)
				}
				told(x)
			}, func(s *Server) { s.Memory = p })
			c := dial()
			large := strings.Replace(get, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", 20<<10)+"\r\n\r\n", 1)
			if _, err := io.WriteString(c, large); err != nil {
				t.Fatal(err)
			}
			want := "carried"
			if name != "enough" {
				want = ErrMemory.Error()
			}
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if _, text, _ := strings.Cut(string(b[:n]), "\r\n\r\n"); text != want {
				t.Errorf("got %q, %v, want %q", b[:n], err, want)
			}
			await(t, func() bool { return p.left.Load() == exchangeMemory+more })
		})
	}
}

// However a connection without a seat spends its time, it has so much in all, and hears why.
func TestConnectionWithoutASeatThatDawdlesEnds(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, told, func(s *Server) { s.Seats = new(room) })
	half, lines := dial(), dial()
	begun := time.Now()
	io.WriteString(half, "GET / HTTP/1.1\r\nHost: a\r\n")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.ReadAll(lines)
	}()
	tick := time.NewTicker(crowdTime / 4)
	defer tick.Stop()
	for going := true; going; {
		select {
		case <-ended:
			going = false
		case <-tick.C: // empty lines before a request are passed over, RFC 9112 2.2
			io.WriteString(lines, "\r\n")
		}
	}
	b, err := io.ReadAll(half)
	if d := time.Since(begun); d > crowdTime+3*time.Second {
		t.Errorf("they ended after %v", d)
	}
	if !strings.HasSuffix(string(b), "\r\n\r\n"+ErrFull.Error()) {
		t.Errorf("half a head got %q, %v", b, err)
	}
}

func TestLookupThatPanicsEndsItsConnectionOnly(t *testing.T) {
	leak.Check(t)
	var first atomic.Bool
	_, dial := serve(t, told, func(s *Server) {
		s.Who = func(net.Conn) int64 {
			if !first.Swap(true) {
				panic("BUG: on purpose")
			}
			return 7
		}
	})
	c := dial()
	io.WriteString(c, get)
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("got %q", b)
	}
	wantExchange(t, dial(), nil)
}

func TestHeadThatIsStillToComeHoldsItsBufferOnly(t *testing.T) {
	leak.Check(t)
	p := new(purse)
	p.left.Store(exchangeMemory + headMemory)
	_, dial := serve(t, told, func(s *Server) { s.Memory = p })
	io.WriteString(dial(), get[:len(get)-2])
	await(t, func() bool { return p.left.Load() == exchangeMemory })
	wantExchange(t, dial(), nil)
}
