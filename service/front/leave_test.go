package front

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// answerOK is a handler that says who it is.
func answerOK(name string) func(*Exchange) {
	return func(x *Exchange) {
		if err := x.Answer(200, "OK", nil, name); err != nil {
			x.Abort()
		}
	}
}

// handTo makes a Hand that passes connections to another server.
func handTo(next *Server, l *Listener) func(*Listener, net.Conn) bool {
	return func(_ *Listener, c net.Conn) bool {
		return next.Adopt(l, c)
	}
}

// request sends one request and returns what answered it.
func request(c net.Conn, in *bufio.Reader) (string, *http.Response, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return "", nil, err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), resp, err
}

func TestLeaveHandsIdleConnectionsOver(t *testing.T) {
	leak.Check(t)
	next, _ := serve(t, answerOK("next"))
	var old *Server
	old, dial := serve(t, answerOK("old"))
	c := dial()
	old.Hand = handTo(next, listenerOf(next))
	in := bufio.NewReader(c)
	if who, _, err := request(c, in); who != "old" || err != nil {
		t.Fatalf("got %q, %v", who, err)
	}
	old.Leave()
	if err := old.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if who, resp, err := request(c, in); who != "next" || err != nil || resp.Close {
		t.Errorf("got %q, %v after the hand-over", who, err)
	}
}

func TestLeaveFinishesAnExchangeBeforeTheHandOver(t *testing.T) {
	leak.Check(t)
	next, _ := serve(t, answerOK("next"))
	begun, release := make(chan struct{}), make(chan struct{})
	old, dial := serve(t, func(x *Exchange) {
		close(begun)
		<-release
		answerOK("old")(x)
	})
	old.Hand = handTo(next, listenerOf(next))
	c := dial()
	in := bufio.NewReader(c)
	go func() {
		<-begun
		old.Leave()
		close(release)
	}()
	if who, resp, err := request(c, in); who != "old" || err != nil || resp.Close {
		t.Fatalf("got %q, %v", who, err)
	}
	if who, _, err := request(c, in); who != "next" || err != nil {
		t.Errorf("got %q, %v after the hand-over", who, err)
	}
}

func TestConnectionThatNobodyTakesClosesBetweenExchanges(t *testing.T) {
	leak.Check(t)
	old, dial := serve(t, answerOK("old"))
	old.Hand = func(*Listener, net.Conn) bool { return false }
	c := dial()
	in := bufio.NewReader(c)
	if _, _, err := request(c, in); err != nil {
		t.Fatal(err)
	}
	old.Leave()
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// Clients that never stop asking see nothing of it.
func TestHandOverUnderLoadLosesNothing(t *testing.T) {
	leak.Check(t)
	const clients = 40
	next, _ := serve(t, answerOK("next"))
	old, dial := serve(t, answerOK("old"))
	old.Hand = handTo(next, listenerOf(next))
	var sent, byNext, failed atomic.Int64
	var running sync.WaitGroup
	stop := make(chan struct{})
	for range clients {
		c := dial()
		running.Go(func() {
			in := bufio.NewReader(c)
			for {
				select {
				case <-stop:
					return
				default:
				}
				who, resp, err := request(c, in)
				sent.Add(1)
				switch {
				case err != nil || resp.Close:
					t.Log(who, err)
					failed.Add(1)
					return
				case who == "next":
					byNext.Add(1)
				}
			}
		})
	}
	reach := func(what string, n *atomic.Int64, least int64) {
		for end := time.Now().Add(10 * time.Second); n.Load() < least && failed.Load() == 0; <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waiting for %s", what)
			}
		}
	}
	reach("requests", &sent, 500)
	// The listener closes with this process: what nobody has accepted by then is lost with it.
	for l := listenerOf(old); l.Accepted() < clients; {
		runtime.Gosched()
	}
	old.Leave()
	reach("requests to the next", &byNext, 500)
	if err := old.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	close(stop)
	running.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed or were the last of their connection", failed.Load(), sent.Load())
	}
	t.Log(strings.TrimSpace(time.Now().Format(time.TimeOnly)), sent.Load(), "requests,", byNext.Load(), "of them after the hand-over")
}

// listenerOf returns the only listener of a server.
func listenerOf(s *Server) *Listener {
	for {
		s.mu.Lock()
		for l := range s.listeners {
			s.mu.Unlock()
			return l
		}
		s.mu.Unlock()
	}
}

// What Hand has taken belongs to somebody else, even if Cut comes before the goroutine
// of the connection has ended.
func TestCutLeavesAloneWhatWasHandedOver(t *testing.T) {
	leak.Check(t)
	next, _ := serve(t, answerOK("next"))
	old, dial := serve(t, answerOK("old"))
	l := listenerOf(next)
	cutting := make(chan struct{})
	old.Hand = func(_ *Listener, c net.Conn) bool {
		go func() {
			old.Cut()
			close(cutting)
		}()
		// Cut comes just after the connection was taken, or waits for that.
		select {
		case <-cutting:
		case <-time.After(50 * time.Millisecond):
		}
		return next.Adopt(l, c)
	}
	c := dial()
	in := bufio.NewReader(c)
	if _, _, err := request(c, in); err != nil {
		t.Fatal(err)
	}
	old.Leave()
	<-cutting
	if err := old.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if who, _, err := request(c, in); who != "next" || err != nil {
		t.Errorf("got %q, %v after the hand-over", who, err)
	}
}

// kept is a Hand that keeps what it takes.
func kept(s *Server) (taken chan net.Conn, from func() *Listener) {
	taken = make(chan net.Conn, 10)
	var last atomic.Pointer[Listener]
	s.Hand = func(l *Listener, c net.Conn) bool {
		last.Store(l)
		taken <- c
		return true
	}
	return taken, last.Load
}

func TestADismissedConnectionIsAnsweredFirst(t *testing.T) {
	leak.Check(t)
	s, dial := serve(t, answerOK("it"))
	taken, from := kept(s)
	c := dial()
	in := bufio.NewReader(c)
	if _, _, err := request(c, in); err != nil {
		t.Fatal(err)
	}
	s.Leave()
	nc := <-taken
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	arrived(t, nc)
	s.Dismiss(from(), nc)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "it" || !resp.Close || err != nil {
		t.Errorf("got %q, close %v, %v", body, resp.Close, err)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the connection", err)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADismissedConnectionThatRestsEnds(t *testing.T) {
	leak.Check(t)
	s, dial := serve(t, answerOK("it"))
	taken, from := kept(s)
	c := dial()
	if _, _, err := request(c, bufio.NewReader(c)); err != nil {
		t.Fatal(err)
	}
	s.Leave()
	nc := <-taken
	s.Dismiss(from(), nc)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the connection", err)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// arrived returns once there is something to read on c.
func arrived(t *testing.T, c net.Conn) {
	t.Helper()
	r, err := rawconn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.ReadWithin(10 * time.Second)
	if err := r.WaitReadable(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// The goroutine of a connection that was handed over may be slow to end.
func TestCutPassesOverAConnectionThatIsOnItsWay(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	peer, err := net.Dial("tcp", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	nc, err := socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s := &Server{Hand: func(*Listener, net.Conn) bool { return true }}
	c, err := newConn(s, NewListener(socket, "http"), nc)
	if err != nil {
		t.Fatal(err)
	}
	s.conns = map[*conn]struct{}{c: {}}
	if !c.hand() {
		t.Fatal("it was not handed over")
	}
	s.Cut()
	if _, err := io.WriteString(nc, "x"); err != nil {
		t.Errorf("the next owner cannot use it: %v", err)
	}
}
