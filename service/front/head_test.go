package front

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// heading returns once the server waits for the rest of a head.
func heading(t *testing.T, s *Server) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		s.mu.Lock()
		for c := range s.conns {
			if c.heading.Load() {
				s.mu.Unlock()
				return
			}
		}
		s.mu.Unlock()
		if time.Now().After(end) {
			t.Fatal("no head is waited for")
		}
	}
}

// orBroken answers as the proxy does.
func orBroken(x *Exchange) {
	if x.Broken == nil {
		answerOK("old")(x)
		return
	}
	if err := x.Answer(x.Broken.Status, http.StatusText(x.Broken.Status), nil, x.Broken.Reason); err != nil {
		x.Abort()
	}
}

func TestAHalfSentHeadDoesNotHoldUpTheNextProcess(t *testing.T) {
	leak.Check(t)
	s, dial := serve(t, orBroken)
	s.headPatience = 20 * time.Millisecond
	c := dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHos"); err != nil {
		t.Fatal(err)
	}
	heading(t, s)
	s.Leave()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 503 || !resp.Close || string(body) != ErrLate.Reason || err != nil {
		t.Errorf("got %d, close %v, %q, %v", resp.StatusCode, resp.Close, body, err)
	}
	if err := s.Wait(t.Context()); err != nil { // though the client keeps its end open
		t.Error(err)
	}
}

func TestAHeadThatEndsInTimeIsServedAndItsConnectionHandedOver(t *testing.T) {
	leak.Check(t)
	next, _ := serve(t, answerOK("next"))
	old, dial := serve(t, orBroken)
	old.Hand = handTo(next, listenerOf(next))
	c := dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHos"); err != nil {
		t.Fatal(err)
	}
	heading(t, old)
	old.Leave()
	if _, err := io.WriteString(c, "t: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "old" || resp.Close || err != nil {
		t.Errorf("got %q, close %v, %v", body, resp.Close, err)
	}
	if who, _, err := request(c, in); who != "next" || err != nil {
		t.Errorf("got %q, %v after the hand-over", who, err)
	}
}

// A head may come whole just as it is given up. It is served then, and the connection is
// as good as before.
func TestAHeadThatEndsAsItIsGivenUpIsServed(t *testing.T) {
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
	s := new(Server)
	s.Limit(Limits{HeaderTimeout: time.Minute})
	c, err := newConn(s, NewListener(socket, "http"), nc)
	if err != nil {
		t.Fatal(err)
	}
	s.conns = map[*conn]struct{}{c: {}}
	c.beginHead()
	s.hurry()
	c.endHead()
	if _, err := io.WriteString(peer, "x"); err != nil {
		t.Fatal(err)
	}
	c.sock.ReadWithin(10 * time.Second)
	if n, err := c.sock.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the connection reads %d bytes, %v", n, err)
	}
	s.hurry() // there is no head now
	if _, err := io.WriteString(peer, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.sock.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the connection reads %d bytes, %v", n, err)
	}
}

// A client that is told that the connection ends after an answer knows that nobody has
// looked at what it has sent after that request, RFC 9112 9.3.2.
func TestRequestsSentAheadAreLeftToTheClientWhenTheServerLeaves(t *testing.T) {
	leak.Check(t)
	var served atomic.Int64
	begun, release := make(chan struct{}), make(chan struct{})
	s, dial := serve(t, func(x *Exchange) {
		if served.Add(1) == 1 {
			close(begun)
			<-release
		}
		answerOK("it")(x)
	})
	s.Hand = func(_ *Listener, c net.Conn) bool {
		t.Error("a connection is handed over whose next request is here")
		return false
	}
	c := dial()
	if _, err := io.WriteString(c, strings.Repeat(get, 3)+"GET /half"); err != nil {
		t.Fatal(err)
	}
	<-begun
	s.Leave()
	close(release)
	in := bufio.NewReader(c)
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
	if n := served.Load(); n != 1 {
		t.Errorf("%d requests were served, want 1", n)
	}
}
