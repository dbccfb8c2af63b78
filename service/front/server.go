package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Limits bound what a client may send and how long it may take.
type Limits struct {
	http1.Limits
	HeaderTimeout time.Duration // from the first byte of a head to its last
	IdleTimeout   time.Duration // between exchanges
	BodyTimeout   time.Duration // the longest pause within a body, either way
}

// Listener is a socket under the name that routes know it by.
type Listener struct {
	net.Listener
	Name string
}

// Server serves client connections. Its fields must be set before Serve.
type Server struct {
	// Handler answers an exchange. It must leave it ended, aborted or tunnelled.
	Handler func(*Exchange)
	Limits  Limits
	Buffers *rawconn.Buffers
	Log     *slog.Logger
	// Reading tells, for a TCP client that has ended its own stream, whether it
	// still reads. nil means that it does not.
	Reading func(local, remote net.Addr) bool

	exchanges sync.Pool // of *Exchange

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	conns     map[*conn]struct{}
	ended     chan struct{} // closed by Drain

	draining atomic.Bool // connections end with their exchange
	cut      atomic.Bool // exchanges end
	running  sync.WaitGroup
}

// Serve accepts connections on l until Drain. It closes l.
func (s *Server) Serve(l *Listener) error {
	if !s.addListener(l) {
		return l.Close()
	}
	s.Log.Debug("listener serves", "listener", l.Name, "address", l.Addr().String())
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.open(l, nc)
		case s.draining.Load() && errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %q was closed: %w", l.Name, err)
		default:
			// Out of descriptors, most likely. Connections wait in the backlog;
			// trying again at once would only burn the processor.
			if pause == 0 {
				s.Log.Warn("accepting a connection failed; retrying", "listener", l.Name, "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-s.ended:
				return nil
			}
		}
	}
}

func (s *Server) addListener(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[*Listener]struct{})
		s.ended = make(chan struct{})
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) open(l *Listener, nc net.Conn) {
	c, err := newConn(s, l, nc)
	if err != nil {
		s.Log.Error("taking a connection failed", "listener", l.Name, "error", err)
		_ = nc.Close() // it could not be used
		return
	}
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		_ = nc.Close() // no byte of it was read: the client may try again
		return
	}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	go c.serve()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// Connections returns how many client connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drain stops accepting and closes idle connections. Exchanges on their way go
// on, and their connections close after them.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) {
		return
	}
	if s.ended != nil {
		close(s.ended)
	}
	for l := range s.listeners {
		_ = l.Close() // its accept loop sees it
	}
	for c := range s.conns {
		c.closeIdle()
	}
}

// Cancel ends the exchanges that are still on their way, with an answer where
// none has begun. Clients that do not take it are cut off by Wait's caller
// through Cut.
func (s *Server) Cancel() { s.cut.Store(true) }

// Cut closes every connection at once.
func (s *Server) Cut() {
	s.Cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.sock.Reset() // an answer that is cut must not look complete
	}
}

// Wait returns nil once all connections have ended, or ctx's error. Call Drain
// first.
func (s *Server) Wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) takeExchange() *Exchange {
	if x, ok := s.exchanges.Get().(*Exchange); ok {
		return x
	}
	return new(Exchange)
}
