package front

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// ask sends the request and reads to the end of the connection, which the handler brings about.
func ask(t *testing.T, c net.Conn, request string) (answer string, err error) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestAnswerShorterThanAnnouncedIsAborted(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		x.Head(200, []byte("OK"), nil, http1.ByLength, 10)
		x.Write([]byte("hello"))
		x.Flush()
		if err := x.End(nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("End returned %v", err)
		}
	})
	answer, err := ask(t, dial(), get)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v after %q", err, answer)
	}
}

func TestAnswerLongerThanAnnouncedIsRefused(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		x.Head(200, []byte("OK"), nil, http1.ByLength, 3)
		if err := x.Write([]byte("hello")); err == nil {
			t.Error("Write took more than was announced")
		}
		x.Abort()
	})
	if answer, err := ask(t, dial(), get); strings.Contains(answer, "hello") || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestPanicEndsOneConnectionOnly(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		x.Head(200, []byte("OK"), nil, http1.ByLength, 5)
		x.Write([]byte("hello"))
		if string(x.Request.Path) == "/panic" {
			panic("BUG: on purpose")
		}
		x.CloseAfter()
		x.End(nil)
	})
	if answer, err := ask(t, dial(), strings.Replace(get, "/", "/panic", 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v; want a reset", answer, err)
	}
	if answer, err := ask(t, dial(), get); err != nil || !strings.HasSuffix(answer, "hello") {
		t.Errorf("after it: %q, %v", answer, err)
	}
}

func TestHandlerThatAnswersNothingResets(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(*Exchange) {})
	if answer, err := ask(t, dial(), get); answer != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestRetractOnlyBeforeAByteHasLeft(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		flush := string(x.Request.Path) == "/flush"
		if string(x.Request.Path) == "/hint" {
			x.Informational(&http1.Response{Status: 103, Reason: []byte("Early Hints")})
		}
		x.Head(200, []byte("OK"), nil, http1.Chunked, -1)
		x.Write([]byte("hello"))
		if flush {
			x.Flush()
		}
		if x.Retract() == flush {
			t.Errorf("%s: Retract is %v", x.Request.Path, !flush)
		}
		if flush {
			x.Abort()
			return
		}
		x.CloseAfter()
		x.Answer(502, "Bad Gateway", nil, "sorry")
	})
	const close = "Content-Length: 5\r\nConnection: close\r\n\r\nsorry"
	f := func(path, want string, end error) {
		t.Helper()
		answer, err := ask(t, dial(), strings.Replace(get, "/", path, 1))
		if answer != want || !errors.Is(err, end) {
			t.Errorf("%s got %q, %v, want %q, %v", path, answer, err, want, end)
		}
	}
	f("/", "HTTP/1.1 502 Bad Gateway\r\n"+close, nil)
	f("/hint", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n"+close, nil)
	f("/flush", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", syscall.ECONNRESET)
}

// TestSmallAnswerIsOneWrite reads with a large buffer: head and body must come together.
func TestSmallAnswerIsOneWrite(t *testing.T) {
	leak.Check(t)
	_, dial := serve(t, func(x *Exchange) {
		x.Head(200, []byte("OK"), nil, http1.Chunked, -1)
		x.Write([]byte("hello"))
		x.Write([]byte("world"))
		x.End(nil)
	})
	c := dial()
	io.WriteString(c, get)
	b := make([]byte, 1000)
	n, err := c.Read(b)
	if want := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"; string(b[:n]) != want || err != nil {
		t.Errorf("the first read got %q, %v, want %q", b[:n], err, want)
	}
}

func TestAbandoned(t *testing.T) {
	leak.Check(t)
	asked, verdict := make(chan struct{}), make(chan error)
	s, dial := serve(t, func(x *Exchange) {
		for range asked {
			verdict <- x.Abandoned()
		}
		x.Abort()
	})
	defer close(asked)
	s.Reading = func(_, _ net.Addr) bool { return true }
	ask := func() error {
		asked <- struct{}{}
		return <-verdict
	}
	await := func(want error) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; { // until the kernel has passed it on
			if got := ask(); errors.Is(got, want) {
				return
			} else if time.Now().After(end) {
				t.Fatalf("Abandoned is %v, want %v", got, want)
			}
		}
	}
	c := dial()
	io.WriteString(c, get)
	if err := ask(); err != nil {
		t.Errorf("a client that waits: %v", err)
	}
	c.(*net.TCPConn).CloseWrite()
	if err := ask(); err != nil {
		t.Errorf("a client that has ended its stream only: %v", err)
	}
	s.Reading = nil
	await(ErrGone)
	s.Cancel()
	await(ErrCancelled)
}

// Bytes behind the last request must not turn into a reset that takes the answer
// from a client that reads slowly.
func TestLastAnswerOutlivesStrayBytes(t *testing.T) {
	leak.Check(t)
	const size = 3 << 20
	stray := make(chan struct{})
	_, dial := serve(t, func(x *Exchange) {
		<-stray
		x.Head(200, []byte("OK"), nil, http1.ByLength, size)
		x.Write(make([]byte, size))
		x.End(nil)
	})
	c := dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-time.After(20 * time.Millisecond) // the request has been read by then
		io.WriteString(c, "\r\n")
		close(stray)
	}()
	<-stray
	<-time.After(100 * time.Millisecond) // the answer fills the sockets
	answer, err := io.ReadAll(c)
	if err != nil || len(answer) < size {
		t.Errorf("%d bytes of the answer, %v", len(answer), err)
	}
}

func TestClientThatIsGoneIsCalledSo(t *testing.T) {
	leak.Check(t)
	failed := make(chan error, 1)
	_, dial := serve(t, func(x *Exchange) {
		x.Head(200, []byte("OK"), nil, http1.ByClose, -1)
		for {
			if err := errors.Join(x.Write(make([]byte, 64<<10)), x.Flush()); err != nil {
				failed <- err
				x.Abort()
				return
			}
		}
	})
	c := dial()
	io.WriteString(c, get)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := <-failed; !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
}
