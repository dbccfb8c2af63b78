package front

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

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
