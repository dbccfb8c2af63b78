package service

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
)

// bounds keeps what limits count over reloads: it is resized in place, so that what is
// under way or spent stays so.
type bounds struct {
	connections *limiter.Counter
	memory      *limiter.Bytes

	mu     sync.Mutex
	routes map[string]*routeBounds // by name
}

// routeBounds is the state of one route's limits.
type routeBounds struct {
	rate     *limiter.Rate // nil: no bound
	per      string        // what its keys mean
	gate     *limiter.Gate // nil: there has never been a bound
	tooLarge atomic.Uint64
}

func (b *bounds) init() {
	b.connections = limiter.NewCounter(limiter.CounterOptions{})
	b.memory = limiter.NewBytes(0)
	b.routes = make(map[string]*routeBounds)
}

// keys is how many keys of a rate are told apart at a time: callers, listeners or values
// of a header field.
const keys = 4096

// route makes the limits of a route hold, and returns them.
func (b *bounds) route(name string, l *config.RouteLimit, now time.Time) proxy.Limit {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.routes[name]
	if r == nil {
		r = new(routeBounds)
		b.routes[name] = r
	}
	out := proxy.Limit{QueueTimeout: l.QueueTimeout, Body: l.Body, TooLarge: &r.tooLarge}
	out.Per, out.Header = ratePer(l.Per)
	o := limiter.RateOptions{Requests: l.Rate.Requests, Per: l.Rate.Per, Burst: l.Burst, Keys: keys}
	switch {
	case o.Requests == 0:
		r.rate = nil
	case r.rate == nil || r.per != l.Per: // keys of another kind owe nothing
		r.rate, r.per = limiter.NewRate(o, now), l.Per
	default:
		r.rate.Resize(o, now)
	}
	out.Policy = o.AppendPolicy(nil, name)
	g := limiter.GateOptions{Capacity: l.InFlight, PerKey: l.PerCaller, Queue: l.Queue}
	bounded := g.Capacity > 0 || g.PerKey > 0
	switch {
	case r.gate != nil:
		r.gate.Resize(g) // without a bound whoever waits may go
	case bounded:
		r.gate = limiter.NewGate(g)
	}
	out.Rate = r.rate
	if bounded { // those inside are remembered meanwhile, should there be a bound again
		out.Gate = r.gate
	}
	return out
}

// ratePer is what has a bucket of its own.
func ratePer(per string) (proxy.Per, string) {
	switch per {
	case config.PerCaller:
		return proxy.PerCaller, ""
	case config.PerListener:
		return proxy.PerListener, ""
	case config.PerRoute:
		return proxy.PerRoute, ""
	}
	return proxy.PerHeader, per[len(config.PerHeader):]
}

// forget drops the limits of routes that c does not have.
func (b *bounds) forget(c *config.Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := make(map[string]*routeBounds, len(c.Routes))
	for i := range c.Routes {
		kept[c.Routes[i].Name] = b.routes[c.Routes[i].Name]
	}
	b.routes = kept
}

// of returns the limits of a route at present.
func (b *bounds) of(name string) (rate *limiter.Rate, gate *limiter.Gate, tooLarge uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.routes[name]
	if r == nil { // it has just gone
		return nil, nil, 0
	}
	return r.rate, r.gate, r.tooLarge.Load()
}

// seats is the bound of connections as the front knows it.
type seats struct{ *limiter.Counter }

// Enter implements front.Seats.
func (s seats) Enter() (front.Seat, bool) {
	seat, err := s.Counter.Enter()
	if err != nil {
		return nil, false
	}
	return &clientSeat{seat}, true
}

type clientSeat struct{ limiter.Seat }

// Claim implements front.Seat.
func (s *clientSeat) Claim(uid int64) bool { return s.Seat.Claim(uint64(uid)) == nil }

// Descriptors that client connections and those to upstreams must leave: for the admin
// API and the metrics, for the request log, listeners, watches and lookups, and for
// clients that are told that there is no room.
const (
	operatorDescriptors = 2 * 80
	otherDescriptors    = 64
	fewestConnections   = 16
)

// room is how many client connections the bound on open files leaves room for. Each may
// need a second descriptor, for its upstream, while the upstreams that it used before keep
// up to pool.idle; but all upstreams together have no more than pool.max connections.
func room(files uint64, c *config.Config) int {
	left := int(min(files, 1<<30)) - operatorDescriptors - otherDescriptors - front.MaxExcess
	pools, kept, most := 0, 0, 0
	for i := range c.Upstreams {
		p := &c.Upstreams[i].Pool
		pools, kept, most = pools+p.Max, kept+p.Idle, max(most, p.Idle)
	}
	return max(left-pools, (left-(kept-most))/2, fewestConnections)
}

// connectionMemory is what a client connection takes between exchanges, mostly stack.
const connectionMemory = 10 << 10

// affordable is how many client connections the memory limit of the process, GOMEMLIMIT,
// leaves room for beside limits.memory, for which at most three quarters are kept.
func affordable(limit int64, c *config.Config) int {
	return int(max((limit-min(c.Limits.Memory, limit/4*3))/connectionMemory, fewestConnections))
}

// boundConnections makes the limits of all connections together hold.
func (s *Service) boundConnections(c *config.Config) {
	capacity := c.Limits.Connections
	memory := affordable(debug.SetMemoryLimit(-1), c)
	if capacity > memory {
		s.Log.Warn("client connections may take more memory than there is", "event", "degraded",
			"error", fmt.Sprintf("GOMEMLIMIT leaves memory for %d connections beside limits.memory; raise it and MemoryHigh= of the unit, or lower limits.connections, which is %d", memory, capacity))
	}
	if capacity == 0 {
		capacity = memory
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		most := room(files.Cur, c)
		if c.Limits.Connections > most {
			s.Log.Warn("there may be fewer client connections than limits.connections says", "event", "degraded",
				"error", fmt.Sprintf("LimitNOFILE, %d, leaves room for %d connections; raise it, or lower limits.connections, which is %d", files.Cur, most, capacity))
		}
		capacity = min(capacity, most)
	}
	s.bounds.connections.Resize(limiter.CounterOptions{Capacity: capacity, PerKey: c.Limits.ConnectionsPerCaller})
	s.bounds.memory.Resize(c.Limits.Memory)
}
