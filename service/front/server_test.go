package front

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// exhausted is a listener that has no descriptor for the next connection.
type exhausted struct {
	accepts atomic.Int64
	once    sync.Once
	closed  chan struct{}
}

func (l *exhausted) Accept() (net.Conn, error) {
	l.accepts.Add(1)
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
}

func (l *exhausted) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *exhausted) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestAcceptDoesNotSpinWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
		l := &exhausted{closed: make(chan struct{})}
		served := make(chan error)
		go func() { served <- s.Serve(NewListener(l, "http")) }()
		<-time.After(time.Minute) // of the bubble's clock
		synctest.Wait()
		if n := l.accepts.Load(); n < 60 || n > 80 {
			t.Errorf("%d attempts in a minute, want about one a second", n)
		}
		s.Drain()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		if n := strings.Count(log.String(), "accepting a connection failed"); n != 1 {
			t.Errorf("%d warnings, want 1: %s", n, &log)
		}
	})
}

func TestListenerThatIsClosedByOthersIsAnError(t *testing.T) {
	l := &exhausted{closed: make(chan struct{})}
	l.Close()
	s := &Server{Log: slog.New(slog.DiscardHandler)}
	if err := s.Serve(NewListener(l, "http")); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), `"http"`) {
		t.Errorf("Serve returned %v", err)
	}
}

func TestServeAfterDrainClosesItsListener(t *testing.T) {
	s := &Server{Log: slog.New(slog.DiscardHandler)}
	s.Drain()
	l := &exhausted{closed: make(chan struct{})}
	if err := s.Serve(NewListener(l, "http")); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	<-l.closed
	if err := s.Wait(t.Context()); err != nil {
		t.Errorf("Wait returned %v", err)
	}
}

// serve starts a server with the handler on a loopback listener and returns how to connect to it.
func serve(t *testing.T, handler func(*Exchange), change ...func(*Server)) (s *Server, dial func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &Server{Handler: handler, Buffers: new(rawconn.Buffers), Log: slog.New(slog.DiscardHandler)}
	s.Limit(Limits{Limits: http1.DefaultLimits(), HeaderTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute})
	for _, f := range change {
		f(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(NewListener(l, "http")) }()
	t.Cleanup(func() {
		s.Drain()
		s.Cut()
		if err := errors.Join(s.Wait(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return s, func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
}
