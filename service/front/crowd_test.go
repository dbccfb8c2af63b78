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

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
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
	const most = maxExcess / 2 // so that others can be most, too
	const total = most + 2
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
			for range most {
				refused = append(refused, begin())
			}
			await(t, func() bool { return s.excess.Load() == most && seats.free() == total-1 })
			if b, err := io.ReadAll(begin()); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("one more got %q, %v, want it to be closed", b, err)
			}
			await(t, func() bool { return seats.free() == total-1 && s.Connections() == 1+most })
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
