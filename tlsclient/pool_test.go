package tlsclient_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// gate answers each request once it is let through.
func gate(open <-chan struct{}) tlstest.Script {
	return func(c *tlstest.Conn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			select {
			case <-open:
			case <-c.Stopping():
				return
			}
			if c.Write(tlstest.OK) != nil {
				return
			}
		}
	}
}

// many runs n exchanges at the same time.
func (f *fixture) many(n int) (answers []*answer, wait func()) {
	answers = make([]*answer, n)
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { answers[i] = f.do(f.request("GET")) })
	}
	return answers, running.Wait
}

func TestPoolNeverExceedsItsBound(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns = 3 })
	answers, wait := f.many(12)
	f.server.Wait(t, "three requests", func(s tlstest.Stats) bool { return s.Requests == 3 })
	close(open)
	wait()
	for _, a := range answers {
		a.expect(t, 200, "ok")
	}
	if s := f.server.Stats(); s.Accepted != 3 {
		t.Errorf("%d connections, want 3", s.Accepted)
	}
}

func TestWaitingForAConnectionEnds(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns, o.PoolWait = 1, 50*time.Millisecond })
	first, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.do(f.request("GET")).refused(t, tlsclient.Overloaded, tlsclient.FaultSelf)
	close(open)
	wait()
	first[0].expect(t, 200, "ok")
	f.do(f.request("GET")).expect(t, 200, "ok")
}

func TestPlaceOfAConnectionThatEndsGoesToWhoWaits(t *testing.T) {
	f := start(t, tlstest.Static("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
		func(o *tlsclient.Options) { o.MaxConns = 2 })
	answers, wait := f.many(20)
	wait()
	for _, a := range answers {
		a.expect(t, 200, "ok")
	}
}

func TestCloseEndsThoseWhoWait(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns, o.PoolWait = 1, time.Minute })
	_, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	waiting := make(chan *answer)
	go func() { waiting <- f.do(f.request("GET")) }()
	f.upstream.AwaitWaiters(1)
	f.upstream.Close()
	(<-waiting).refused(t, tlsclient.Draining, tlsclient.FaultSelf)
	close(open)
	wait()
}

func TestLastUsedConnectionIsUsedFirst(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open))
	_, wait := f.many(4)
	f.server.Wait(t, "four requests", func(s tlstest.Stats) bool { return s.Requests == 4 })
	close(open)
	wait()
	for range 10 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	used := map[int]bool{}
	for _, r := range f.server.Requests()[4:] {
		used[r.Conn] = true
	}
	if len(used) != 1 {
		t.Errorf("ten exchanges one after another used %d connections, want 1", len(used))
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	for name, change := range map[string]func(*tlsclient.Options){
		"after the idle timeout":    func(o *tlsclient.Options) { o.IdleTimeout = 50 * time.Millisecond },
		"at their greatest age":     func(o *tlsclient.Options) { o.MaxAge = 50 * time.Millisecond },
		"above those that are kept": func(o *tlsclient.Options) { o.MaxIdle = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tlstest.Static(tlstest.OK), change)
			f.do(f.request("GET")).expect(t, 200, "ok")
			f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
		})
	}
}

func TestOldConnectionIsNotUsedAgain(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.MaxAge = time.Nanosecond })
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.do(f.request("GET")).expect(t, 200, "ok")
	if s := f.server.Stats(); s.Accepted != 2 {
		t.Errorf("%d connections, want 2", s.Accepted)
	}
}

func TestLeastPendingEndpointIsChosen(t *testing.T) {
	open := make(chan struct{})
	second := tlstest.ServerOptions{Script: gate(open)}
	f := start(t, gate(open), func(o *tlsclient.Options) {})
	second.CA = f.ca
	other := tlstest.NewServer(t, second)
	o := options(f.server.Addr, other.Addr)
	u := tlsclient.NewUpstream(o)
	t.Cleanup(u.Close)
	u.Use(f.generation(t, 1))
	both := &fixture{ca: f.ca, upstream: u}
	_, wait := both.many(6)
	f.server.Wait(t, "half of the requests", func(s tlstest.Stats) bool { return s.Requests == 3 })
	other.Wait(t, "the other half", func(s tlstest.Stats) bool { return s.Requests == 3 })
	close(open)
	wait()
}

func TestIdleTimeoutHoldsBetweenTwoLooksAtThePool(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.IdleTimeout = time.Nanosecond })
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.do(f.request("GET")).expect(t, 200, "ok")
	if s := f.server.Stats(); s.Accepted != 2 {
		t.Errorf("%d connections, want 2", s.Accepted)
	}
}

// moving resolves to one address at first and to another after it has moved.
type moving struct {
	moved atomic.Bool
	seen  chan struct{} // a look-up after the move
}

func (m *moving) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if !m.moved.Load() {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	select {
	case m.seen <- struct{}{}:
	default:
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
}

func TestBusyConnectionToAnAddressThatHasGoneIsNotUsedAgain(t *testing.T) {
	open := make(chan struct{})
	m := &moving{seen: make(chan struct{})}
	var server netip.AddrPort
	f := start(t, gate(open), func(o *tlsclient.Options) {
		server = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), o.Endpoints[0].Port)
		o.Endpoints[0].Host, o.ServerName = "billing.internal", "127.0.0.1"
		o.Resolver, o.ResolveInterval = m, time.Millisecond
		o.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", server.String())
		}
	})
	answers, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	m.moved.Store(true)
	<-m.seen
	<-m.seen // the one before has been acted on
	close(open)
	wait()
	answers[0].expect(t, 200, "ok")
	f.do(f.request("GET")).expect(t, 200, "ok")
	if s := f.server.Stats(); s.Accepted != 2 {
		t.Errorf("%d connections, want 2", s.Accepted)
	}
}
