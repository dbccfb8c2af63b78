package tlsclient

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Options describe an upstream. Name, Endpoints, ServerName, Pins, MinVersion, Source and
// the address of Via are what its connections are made of; the others Tune can change.
type Options struct {
	Name      string
	Endpoints []Address // at least one

	ServerName string // SNI and the name to verify; empty: the endpoint's host
	Pins       []Pin  // verified in place of the name; empty: the name is
	MinVersion uint16 // tls.VersionTLS12 or higher; 0: 1.2

	Via    *Via       // the proxy that connects to the endpoints; nil: none
	Source netip.Addr // the local address of connections; the zero Addr: the system's choice

	MaxConns    int           // connections in all, over all endpoints
	MaxIdle     int           // above it, connections not needed for a second are closed
	IdleTimeout time.Duration // how long a connection may be idle
	MaxAge      time.Duration // how long it may be used, less up to a tenth at random; 0: no bound
	PoolWait    time.Duration // how long an exchange waits for a free one

	ConnectTimeout   time.Duration
	HandshakeTimeout time.Duration
	HeaderTimeout    time.Duration // from the end of the request to the end of the response's head; 0: none
	BodyIdleTimeout  time.Duration // the longest silence within a body; 0: none
	TotalTimeout     time.Duration // of an exchange with all its attempts; 0: none

	ResolveInterval time.Duration
	RetireTimeout   time.Duration // how long busy connections of an older generation may go on; 0: they are cut at once
	Limits          http1.Limits

	Retry   RetryOptions
	Breaker BreakerOptions
	Health  HealthOptions

	// Rejected is called when the server has refused the certificate of the present
	// generation, by an alert or with 400, 401 or 403: a newer one may be at hand. It is
	// called at most once a second, on an exchange's goroutine, and must return soon.
	Rejected func() // nil: nobody is told

	// Suspected is called once for a generation if each of its first answers, which are
	// so many, was 400, 401 or 403. It is called as Rejected is.
	Suspected func(g *Generation, answers int) // nil: nobody is told

	// These stay what they were at NewUpstream.
	Buffers  *rawconn.Buffers                                              // nil: its own
	Memory   Memory                                                        // for copies of bodies; nil: any amount
	Resolver Resolver                                                      // nil: net.DefaultResolver
	Dial     func(ctx context.Context, a netip.AddrPort) (net.Conn, error) // nil: TCP from Source
}

// Alike reports whether connections made by o and by other are the same, so that an
// upstream can go from one to the other by Tune.
func (o *Options) Alike(other *Options) bool {
	return o.Name == other.Name && slices.Equal(o.Endpoints, other.Endpoints) && o.ServerName == other.ServerName &&
		slices.Equal(o.Pins, other.Pins) && o.MinVersion == other.MinVersion &&
		o.Via.same(other.Via) && o.Source == other.Source
}

// Address is the host and port of an endpoint.
type Address struct {
	Host string // a name or an IP address without brackets
	Port uint16
}

func (a Address) String() string { return net.JoinHostPort(a.Host, portText(a.Port)) }

// Upstream is a service reached over mutual TLS. Use may be called at any time;
// between NewUpstream and the first Use every Do is answered with what Lack was told,
// or IdentityUnavailable. Close ends it.
type Upstream struct {
	options   atomic.Pointer[Options]
	endpoints []*endpoint

	mu      sync.Mutex
	pool    *pool   // of the present generation
	old     []*pool // of others that still have connections, the latest first
	lack    *Error  // why there is no generation
	open    int     // connections of all generations, those being dialled included
	waiters []*waiter
	turn    int // which endpoint is compared with another
	budget  budget
	closed  bool
	count   counters

	retried  retried
	reused   atomic.Uint64 // exchanges on a connection that had carried one before
	rejected atomic.Uint64 // exchanges that waited in vain for a connection
	begun    time.Time
	told     atomic.Int64                  // nanoseconds after begun when Options.Rejected was called last; 0: never
	tuned    atomic.Pointer[chan struct{}] // closed by the next Tune
	ctx      context.Context               // of the background work
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
}

// endpoint is one address of the upstream. What changes of it is guarded by the
// upstream's mutex.
type endpoint struct {
	Address
	name      string     // host:port
	addresses *addresses // its own, or those of the proxy it is reached through
	pending   int        // exchanges that use or want a connection to it
	drained   bool       // by hand: it is not tried
	ill       bool       // it fails its health checks: it is not tried
	down      bool       // no connection could be made the last time
	breaker   breaker
	health    health
	next      int // which of its addresses is dialled first
	attempts  atomic.Uint64
	troubles  troubles
}

// serverName is the SNI and the name to verify.
func (e *endpoint) serverName(o *Options) string { return cmp.Or(o.ServerName, e.Host) }

// NewUpstream starts an upstream: it looks up names and tends its connections in
// the background until Close.
func NewUpstream(o Options) *Upstream {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Buffers == nil {
		o.Buffers = new(rawconn.Buffers)
	}
	if o.Dial == nil {
		o.Dial = dialer{source: o.Source}.dial
	}
	ctx, cancel := context.WithCancel(context.Background())
	u := &Upstream{ctx: ctx, cancel: cancel, begun: time.Now()}
	u.options.Store(&o)
	u.tuned.Store(new(make(chan struct{})))
	if o.Via != nil {
		via := u.lookUp(o.Via.Address.Host, o.Resolver)
		for _, a := range o.Endpoints {
			u.endpoints = append(u.endpoints, &endpoint{Address: a, name: a.String(), addresses: via})
		}
	} else {
		for _, a := range o.Endpoints {
			u.endpoints = append(u.endpoints, &endpoint{Address: a, name: a.String(), addresses: u.lookUp(a.Host, o.Resolver)})
		}
	}
	u.tasks.Go(func() { u.tend(ctx) })
	u.startChecks()
	return u
}

// lookUp follows the addresses of a host.
func (u *Upstream) lookUp(host string, r Resolver) *addresses {
	a := newAddresses(host, r)
	if !a.literal() {
		u.tasks.Go(func() {
			a.follow(u.ctx, func() time.Duration { return u.opt().ResolveInterval }, u.dropMoved)
		})
	}
	return a
}

// Name returns the upstream's name.
func (u *Upstream) Name() string { return u.opt().Name }

// opt returns the options in effect. An exchange may see some from before and some
// from after a Tune.
func (u *Upstream) opt() *Options { return u.options.Load() }

// Options returns the options in effect, which must not be modified.
func (u *Upstream) Options() *Options { return u.opt() }

// Tune changes bounds and times in place: connections, exchanges under way and
// counters stay. o must be Alike the options in effect.
func (u *Upstream) Tune(o Options) {
	was := u.opt()
	o.Buffers, o.Memory, o.Resolver, o.Dial = was.Buffers, was.Memory, was.Resolver, was.Dial
	u.mu.Lock()
	defer u.mu.Unlock()
	u.options.Store(&o)
	if o.Breaker.Failures == 0 && was.Breaker.Failures > 0 {
		for _, e := range u.endpoints {
			e.breaker.reset()
		}
	}
	if o.Health.Path == "" {
		for _, e := range u.endpoints {
			e.ill = false
		}
	}
	close(*u.tuned.Swap(new(make(chan struct{})))) // pauses may be shorter now
	u.startChecks()
	u.freed(0) // a larger pool has room for those who wait
}

// errClosed is why a closed upstream answers nothing.
var errClosed = errors.New("the upstream is closed")

// Close closes all connections and ends the background work. Exchanges and tunnels
// that are still on their way should have ended before: they are cut.
func (u *Upstream) Close() {
	u.mu.Lock()
	u.closed = true
	var out leaving
	for _, p := range u.pools() {
		p.retired.Store(true)
		out.idle = append(out.idle, p.takeAll(func(*conn) bool { return true }, closedShutdown)...)
		out.busy = append(out.busy, p.doomBusy(true, closedShutdown, errDraining())...)
		p.silence()
	}
	waiters := u.waiters
	u.waiters = nil
	u.mu.Unlock()
	for _, w := range waiters {
		close(w.ready)
	}
	u.cancel()
	out.end()
	u.tasks.Wait()
}

// pools returns the present generation's and the older ones'. The mutex is held.
func (u *Upstream) pools() []*pool {
	if u.pool == nil {
		return nil
	}
	return append([]*pool{u.pool}, u.old...)
}

// tend closes what has been idle too long, is too old or not needed, and everything
// whose certificate has expired, once a second.
func (u *Upstream) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			u.tidy(now)
		}
	}
}

func (u *Upstream) tidy(now time.Time) {
	var out leaving
	u.mu.Lock()
	for _, p := range u.pools() {
		switch {
		case p.expired(now):
			out.add(p.expire())
		case p == u.pool:
			out.idle = append(out.idle, p.thin(now)...)
		}
	}
	u.mu.Unlock()
	out.end()
}

// dropMoved closes connections to addresses their host no longer has: idle ones
// at once, busy ones after their exchange.
func (u *Upstream) dropMoved() {
	u.mu.Lock()
	var idle []*conn
	if u.pool != nil {
		moved := func(c *conn) bool { return !c.link.endpoint.addresses.has(c.addr.Addr()) }
		idle = u.pool.takeAll(moved, closedMoved)
		for c := range u.pool.conns {
			if moved(c) {
				c.expires = time.Time{}
			}
		}
	}
	u.mu.Unlock()
	closeAll(idle)
}
