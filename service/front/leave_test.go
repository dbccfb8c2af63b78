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
func handTo(next *Server, l *Listener) func(string, net.Conn) bool {
	return func(_ string, c net.Conn) bool {
		next.Adopt(l, c)
		return true
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
	old.Hand = func(string, net.Conn) bool { return false }
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
