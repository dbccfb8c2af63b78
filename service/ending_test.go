package service

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/service/watch"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// fronted returns a service that is nothing but a front with one listener.
func fronted(t *testing.T, handler func(*front.Exchange)) (s *Service, l *front.Listener) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s = &Service{Options: Options{Log: log}, front: &front.Server{Handler: handler, Buffers: new(rawconn.Buffers), Log: log}}
	s.front.Limit(front.Limits{Limits: http1.DefaultLimits(), HeaderTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute})
	l = front.NewListener(socket, "http")
	s.world.Store(&world{config: &config.Config{}, listeners: []wanted{{listener: &listener{Listener: l}, name: "http"}}})
	served := make(chan error, 1)
	go func() { served <- s.front.Serve(l) }()
	t.Cleanup(func() {
		s.front.Drain()
		s.front.Cut()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := s.front.Wait(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s, l
}

func dial(t *testing.T, l *front.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// A client that connects while the daemon makes up its mind to end has sent nothing yet.
func TestAConnectionThatRacesTheIdleExitIsServed(t *testing.T) {
	leak.Check(t)
	s, l := fronted(t, func(x *front.Exchange) {
		if err := x.Answer(200, "OK", nil, "served"); err != nil {
			x.Abort()
		}
	})
	s.IdleExit = time.Hour
	q := s.newQuiet()
	defer q.stop()
	q.since = time.Now().Add(-2 * time.Hour)
	if err := l.Probe(t.Context()); err != nil { // it serves
		t.Fatal(err)
	}
	if !q.over(time.Now()) {
		t.Fatal("nobody has been there for two hours")
	}
	c := dial(t, l)
	if err := l.Probe(t.Context()); err != nil { // which comes after it
		t.Fatal(err)
	}
	if q.certain() {
		t.Error("it would end with a connection open")
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("the client got %v", err)
	}
	resp.Body.Close()
	if err := l.Probe(t.Context()); err != nil {
		t.Errorf("it does not accept any more: %v", err)
	}
}

// An end that is certain leaves those who come later in the backlog, for the next process.
func TestTheIdleExitTakesNobodyMore(t *testing.T) {
	leak.Check(t)
	s, l := fronted(t, func(x *front.Exchange) { x.Abort() })
	s.IdleExit = time.Hour
	q := s.newQuiet()
	defer q.stop()
	q.since = time.Now().Add(-2 * time.Hour)
	if err := l.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !q.certain() {
		t.Fatal("nobody has been there for two hours")
	}
	dial(t, l)
	s.front.Drain()
	if err := s.front.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n := l.Accepted(); n != 0 {
		t.Errorf("%d connections were accepted after all", n)
	}
}

// systemctl stop must not hang for a handler that does.
func TestTheEndDoesNotWaitForAnExchangeThatHangs(t *testing.T) {
	leak.Check(t)
	begun, release := make(chan struct{}), make(chan struct{})
	s, l := fronted(t, func(x *front.Exchange) {
		close(begun)
		<-release
		x.Abort()
	})
	defer close(release)
	s.world.Load().config.Drain.Timeout = 50 * time.Millisecond
	if _, err := io.WriteString(dial(t, l), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	ended := make(chan struct{})
	go func() {
		s.drain(nil, false)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(3 * cutTime):
		t.Error("the drain does not end")
	}
}

func TestWhatHangsDoesNotKeepTheProcessFromEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &Service{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
		release := make(chan struct{})
		begun := time.Now()
		s.within(closeTime, "closing", func() { <-release })
		if took := time.Since(begun); took != closeTime || !strings.Contains(log.String(), "closing has taken more than 8s") {
			t.Errorf("it took %v, and says %s", took, &log)
		}
		close(release)
	})
}

// extensions returns what a manager is told in a minute of a drain with this budget.
func extensions(t *testing.T, budget time.Duration) (n int) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	counted := make(chan int)
	go func() {
		n := 0
		for b := make([]byte, 4096); ; {
			k, err := c.Read(b)
			if err != nil {
				break
			}
			if text := string(b[:k]); text == "X=end" {
				break
			} else if strings.HasPrefix(text, "EXTEND_TIMEOUT_USEC=5000000") {
				n++
			}
		}
		counted <- n
	}()
	synctest.Test(t, func(t *testing.T) {
		notify, err := sd.New(func(string) string { return path }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{Options: Options{Notify: notify}, front: new(front.Server)}
		end := s.extend(budget)
		time.Sleep(time.Minute)
		end()
	})
	last, err := net.Dial("unixgram", path)
	if err == nil {
		_, err = io.WriteString(last, "X=end")
	}
	if err != nil {
		t.Fatal(err)
	}
	n = <-counted
	last.Close()
	c.Close()
	return n
}

func TestTheManagerIsAskedForPatienceUntilSomeSecondsAfterTheBudget(t *testing.T) {
	leak.Check(t)
	// At once, and every two seconds until ten after the budget.
	if n := extensions(t, 4*time.Second); n != 8 {
		t.Errorf("it is asked %d times, want 8", n)
	}
}

func TestALookThatHangsInTheFileSystemIsNoReasonToStartAnew(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		state watch.State
		want  bool
	}{
		"it has not begun":                {watch.State{}, false},
		"it has looked just now":          {watch.State{LastLook: time.Now()}, false},
		"it has stopped looking":          {watch.State{LastLook: long}, true},
		"its look has hung for that time": {watch.State{LastLook: long, Looking: long}, false},
	} {
		if got := still(c.state, time.Minute); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
