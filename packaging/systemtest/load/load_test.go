package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"

// serve lets handle have every connection, until the test ends.
func serve(t *testing.T, network, address string, handle func(c net.Conn, in *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c, bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}

// answers sends each request the same answer.
func answers(answer string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, in *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(c, answer)
		}
	}
}

// once runs a load of which every client has at least one exchange.
func once(t *testing.T, o Options) Count {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Every, o.Path, o.Patience = time.Millisecond, "/", 10*time.Second
	return Run(ctx, o, cancel)
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	tcp := serve(t, "tcp", "127.0.0.1:0", answers(okAnswer))
	unix := serve(t, "unix", filepath.Join(t.TempDir(), "s"), answers(okAnswer))
	c := once(t, Options{Addresses: []string{tcp, unix}, Keep: 4, Fresh: 2})
	if c.Clients != 6 || c.Sent < 6 || c.Answered != c.Sent || c.Failed+c.Closed+c.Refused != 0 || c.Slowest == 0 {
		t.Errorf("got %+v", c)
	}
}

func TestAnAnswerOfAnotherStatusIsAFailure(t *testing.T) {
	a := serve(t, "tcp", "127.0.0.1:0", answers("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))
	c := once(t, Options{Addresses: []string{a}, Keep: 1})
	if c.Failed != c.Sent || c.Errors["status 503"] != c.Sent || c.Closed != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestARequestWithoutAnAnswerIsAFailureAndAConnectionClosed(t *testing.T) {
	a := serve(t, "tcp", "127.0.0.1:0", func(_ net.Conn, in *bufio.Reader) { http.ReadRequest(in) })
	c := once(t, Options{Addresses: []string{a}, Keep: 1})
	if c.Sent == 0 || c.Failed != c.Sent || c.Closed != c.Sent {
		t.Errorf("got %+v", c)
	}
}

func TestAnAnnouncedCloseIsAConnectionClosed(t *testing.T) {
	a := serve(t, "tcp", "127.0.0.1:0", answers("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
	c := once(t, Options{Addresses: []string{a}, Keep: 1})
	if c.Answered != c.Sent || c.Closed != c.Sent {
		t.Errorf("got %+v", c)
	}
}

func TestACloseBetweenTwoExchangesLosesNoRequest(t *testing.T) {
	closed := make(chan struct{})
	a := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn, in *bufio.Reader) {
		http.ReadRequest(in)
		io.WriteString(c, okAnswer)
		c.Close()
		close(closed)
	})
	var c counter
	c.count.Errors = map[string]int{}
	cl := &client{o: &Options{Path: "/", Patience: 10 * time.Second}, c: &c, address: a, keep: true}
	cl.exchange()
	<-closed
	for cl.conn != nil { // until the end has crossed the loopback interface
		cl.look()
	}
	if c.count.Answered != 1 || c.count.Failed != 0 || c.count.Closed != 1 {
		t.Errorf("got %+v", c.count)
	}
}

func TestBytesThatNobodyAskedForAreNoAnswer(t *testing.T) {
	sent := make(chan struct{})
	a := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn, in *bufio.Reader) {
		http.ReadRequest(in)
		io.WriteString(c, okAnswer+"HTTP/1.1 2")
		<-sent
	})
	defer close(sent)
	var c counter
	c.count.Errors = map[string]int{}
	cl := &client{o: &Options{Path: "/", Patience: 10 * time.Second}, c: &c, address: a, keep: true}
	cl.exchange()
	for cl.conn != nil { // until they have crossed the loopback interface
		cl.look()
	}
	if c.count.Answered != 1 || c.count.Stray != 1 || c.count.Closed != 0 {
		t.Errorf("got %+v", c.count)
	}
}

func TestNobodyListeningIsRefusedAndNotSent(t *testing.T) {
	c := once(t, Options{Addresses: []string{filepath.Join(t.TempDir(), "nobody")}, Keep: 1})
	if c.Sent != 0 || c.Refused == 0 {
		t.Errorf("got %+v", c)
	}
}
