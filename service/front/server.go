package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Limits bound what a client may send and how long it may take.
type Limits struct {
	http1.Limits
	HeaderTimeout time.Duration // from the first byte of a head to its last
	IdleTimeout   time.Duration // between exchanges
	BodyTimeout   time.Duration // the longest pause within a body, either way
	EachCaller    bool          // Seats bounds those of each caller: it is asked for at once
}

// Listener is a socket under the name that routes know it by.
type Listener struct {
	net.Listener

	name     atomic.Pointer[string]
	removed  atomic.Bool
	open     atomic.Int64
	accepted atomic.Uint64
	probing  sync.Mutex
	beat     chan struct{} // the accept loop has been woken by Probe
}

// NewListener gives l a name.
func NewListener(l net.Listener, name string) *Listener {
	named := &Listener{Listener: l, beat: make(chan struct{}, 1)}
	named.Rename(name)
	return named
}

// Name returns the listener's name.
func (l *Listener) Name() string { return *l.name.Load() }

// Rename gives the listener another name, which holds for requests to come on all
// its connections.
func (l *Listener) Rename(name string) { l.name.Store(&name) }

// Open returns how many connections are open that came by the listener.
func (l *Listener) Open() int { return int(l.open.Load()) }

// Accepted returns how many connections have come by the listener.
func (l *Listener) Accepted() uint64 { return l.accepted.Load() }

// Server serves client connections. Its fields must be set, and Limit called,
// before Serve.
type Server struct {
	// Handler answers an exchange. It must leave it ended, aborted or tunnelled.
	Handler func(*Exchange)
	Buffers *rawconn.Buffers
	Log     *slog.Logger
	// Reading tells, for a TCP client that has ended its own stream, whether it
	// still reads. nil means that it does not.
	Reading func(local, remote net.Addr) bool
	// Who returns the uid of the caller behind a connection, or NoCaller. It is
	// asked once for each, with the first exchange or before. nil means that nobody is known.
	Who func(net.Conn) int64
	// Identify returns the caller behind a connection with its groups. It is asked when
	// a handler asks for Exchange.Who. nil means that nobody is known.
	Identify func(net.Conn) (caller.Caller, error)
	Seats    Seats  // nil: there may be any number of connections
	Memory   Budget // nil: they may hold any amount
	// Hand takes over a connection that came by a listener and is between two
	// exchanges, for whoever serves next, and reports whether it did. The server does
	// not touch the connection any more then, unless it gets it back by Dismiss. Hand
	// must not call the server. nil takes none.
	Hand func(l *Listener, c net.Conn) bool

	// Oversized counts the requests that were larger than Limits allow.
	Oversized struct{ Heads, Fields, Targets atomic.Uint64 }

	limits    atomic.Pointer[Limits]
	exchanges sync.Pool // of *Exchange
	numbers   atomic.Uint64
	excess    atomic.Int64 // connections that have found no seat

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	conns     map[*conn]struct{}
	ended     chan struct{} // closed by Drain and Leave
	stopped   bool

	headPatience time.Duration // for tests: other than headPatience

	draining  atomic.Bool                   // connections end with their exchange
	leaving   atomic.Bool                   // connections are handed over when they are idle
	cut       atomic.Bool                   // exchanges end
	gate      atomic.Pointer[chan struct{}] // accept loops wait for it; nil: they accept
	accepting sync.WaitGroup                // accept loops
	running   sync.WaitGroup                // connections
}

// NoCaller stands for a caller that is not known.
const NoCaller = -1

// Limit sets the limits, at any time: a connection sees them with its next step.
func (s *Server) Limit(l Limits) { s.limits.Store(&l) }

// Serve accepts connections on l until Drain or Remove. It closes l.
func (s *Server) Serve(l *Listener) error {
	if !s.addListener(l) {
		return l.Close()
	}
	defer s.accepting.Done()
	s.Log.Debug("listener serves", "listener", l.Name(), "address", l.Addr().String())
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.open(l, nc)
			l.accepted.Add(1)
		case (s.ending() || l.removed.Load()) && errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.answerProbe()
			if s.passGate(); s.ending() {
				return nil // whoever waits by now is the next process's
			}
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %q was closed: %w", l.Name(), err)
		default:
			// Out of descriptors, most likely. Connections wait in the backlog;
			// trying again at once would only burn the processor.
			if pause == 0 {
				s.Log.Warn("accepting a connection failed; retrying", "event", "listener_failed", "listener", l.Name(), "error", err)
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
	if s.ending() || l.removed.Load() {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[*Listener]struct{})
		s.ended = make(chan struct{})
	}
	s.listeners[l] = struct{}{}
	s.accepting.Add(1)
	return true
}

// Adopt serves a connection that another process has accepted on l and handed over. It
// reports whether it will: if the server ends, or has removed l, it closes it.
func (s *Server) Adopt(l *Listener, nc net.Conn) bool { return s.open(l, nc) }

// Dismiss ends a connection that Hand took and nobody wants: a request that has come in
// is answered first. Call it after Leave, and Wait after it.
func (s *Server) Dismiss(l *Listener, nc net.Conn) {
	c, err := newConn(s, l, nc)
	if err != nil {
		_ = nc.Close() // it could not be used
		return
	}
	c.unwanted = true
	s.mu.Lock()
	s.start(c)
	s.mu.Unlock()
}

func (s *Server) open(l *Listener, nc net.Conn) bool {
	c, err := newConn(s, l, nc)
	if err != nil {
		s.Log.Error("taking a connection failed", "event", "listener_failed", "listener", l.Name(), "error", err)
		_ = nc.Close() // it could not be used
		return false
	}
	if !c.sit() {
		_ = nc.Close() // enough others are being told
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// One that comes in just as the server leaves is handed over like all others.
	if s.draining.Load() || l.removed.Load() {
		c.stand()
		_ = nc.Close() // no byte of it was read: the client may try again
		return false
	}
	s.start(c)
	return true
}

// start has a connection carried. The mutex is held.
func (s *Server) start(c *conn) {
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	c.listener.open.Add(1)
	go c.serve()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.listener.open.Add(-1)
	c.stand()
	s.running.Done()
}

// Remove stops accepting on l and ends its connections as Drain does.
func (s *Server) Remove(l *Listener) {
	l.removed.Store(true)
	_ = l.Close() // its accept loop sees it
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	for c := range s.conns {
		if c.listener == l {
			c.closeIdle()
		}
	}
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
	s.stopAccepting()
	for c := range s.conns {
		c.closeIdle()
	}
}

// Leave stops accepting and gives idle connections to Hand. Exchanges on their way
// go on, and their connections are handed over after them; those that Hand does not
// take close as in Drain. A request whose head does not come whole within two seconds is
// answered with 503. Of requests that a client has sent ahead, the one under way is
// answered, with the end of the connection, and the others are not touched: the client
// may send them again, RFC 9112 9.3.2.
func (s *Server) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving.Swap(true) {
		return
	}
	s.stopAccepting()
	for c := range s.conns {
		c.call()
	}
	time.AfterFunc(s.patience(), s.hurry)
}

// ending reports whether no more connections are taken.
func (s *Server) ending() bool { return s.draining.Load() || s.leaving.Load() }

// stopAccepting closes the listeners. The mutex is held.
func (s *Server) stopAccepting() {
	if s.ended != nil && !s.stopped {
		close(s.ended)
	}
	s.stopped = true
	for l := range s.listeners {
		_ = l.Close() // its accept loop sees it
	}
}

// Cancel ends the exchanges that are still on their way, with an answer where
// none has begun. Clients that do not take it are cut off by Wait's caller
// through Cut.
func (s *Server) Cancel() { s.cut.Store(true) }

// Cut closes every connection at once, but for those that Hand has taken.
func (s *Server) Cut() {
	s.Cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.sock.Reset() // an answer that is cut must not look complete
	}
}

// Wait returns nil once all connections have ended, or ctx's error. Call Drain or
// Leave first.
func (s *Server) Wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		s.accepting.Wait() // they may still add connections
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
