package tlsclient

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// closing is why a connection was closed.
type closing uint8

const (
	keep           closing = iota // it was not
	closedIdle                    // idle for too long
	closedAge                     // in use for too long
	closedExpired                 // its certificate expired
	closedSurplus                 // more than are needed or allowed
	closedPeer                    // by the server, while it was idle
	closedMoved                   // its address is no longer one of the endpoint's
	closedRetired                 // its generation was replaced
	closedDrained                 // its endpoint was drained
	closedUnfit                   // its last exchange failed, was cut short, or the server asked for it
	closedShutdown                // the upstream ended
	closings
)

// closingNames is in the order of the constants.
var closingNames = [closings]string{"", "idle", "age", "expired", "surplus", "peer", "moved", "retired", "drained", "unfit", "shutdown"}

// counters are guarded by the upstream's mutex.
type counters struct {
	opened, resumed uint64
	closed          [closings]uint64
}

// troubles remembers what went wrong with an endpoint, and apart from that, why this host
// could not make a connection to it, which is not its fault.
type troubles struct {
	mu    sync.Mutex
	count uint64
	last  *Error
	time  time.Time

	unmade     *Error
	unmadeTime time.Time
}

func (t *troubles) add(e *Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	t.last, t.time = e, time.Now()
}

// prevent remembers what kept this host from making a connection, connected that it could.
func (t *troubles) prevent(e *Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unmade, t.unmadeTime = e, time.Now()
}

func (t *troubles) connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unmade = nil
}

func (t *troubles) prevented() (why *Error, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unmade, t.unmadeTime
}

func (t *troubles) get() (count uint64, last *Error, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.last, t.time
}

// State is an upstream as it was at one moment, with its counters since
// NewUpstream.
type State struct {
	Generation *Generation // nil: none is loaded
	// Generations are the present one, if there is one, and then the others that
	// still have connections, the latest first.
	Generations []GenerationState

	Open    int // connections of all generations, those being made included
	Idle    int // of those, idle
	Waiting int // exchanges that wait for a connection

	Opened   uint64            // connections: handshakes that succeeded
	Resumed  uint64            // of those, with a resumed TLS session
	Reused   uint64            // exchanges on a connection that had carried one before
	Closed   map[string]uint64 // connections by reason
	Retries  uint64            // attempts after the first
	Retried  map[string]uint64 // exchanges with some, and attempts that were not made: see Retry… for the keys
	Rejected uint64            // exchanges that waited in vain for a connection

	Endpoints []EndpointState // in the order of Options
}

// GenerationState tells what connections show a generation's certificate.
type GenerationState struct {
	Generation *Generation
	Idle       int
	Busy       int // with an exchange under way
	Tunnels    int
	// Until is when the busy connections are cut, at the latest; zero for the present
	// generation. Tunnels stay until the certificate's NotAfter.
	Until time.Time
	// Refused is how many answers there were since the generation came into use, if every
	// one was 400, 401 or 403; 0 if any was not. See Suspicious.
	Refused uint64
}

// EndpointState is an endpoint as it was at one moment.
type EndpointState struct {
	Address   string       // host:port
	IPs       []netip.Addr // known at the moment
	NoIP      error        // why the last look-up failed; nil if it did not
	Pending   int          // exchanges that use or want a connection to it
	Idle      int          // connections of the present generation
	Busy      int          // connections of the present generation
	Drained   bool
	Down      bool      // no connection could be made the last time
	Shunned   time.Time // until when its breaker is open; zero or past: it is not
	Attempts  uint64    // exchanges that were given a connection to it, or should have been
	Failures  uint64    // that were its own fault
	LastError *Error    // nil: none yet
	LastTime  time.Time // of LastError
	// Unmade is why this host could not make a connection to it the last time, by no fault
	// of the endpoint's; nil: it could.
	Unmade     *Error
	UnmadeTime time.Time

	Breaker             Breaker
	Until               time.Time // when Breaker is Open: when it becomes HalfOpen
	ConsecutiveFailures int       // of exchanges, by the upstream's fault
	Opened              uint64    // times the breaker has
	Probes              uint64    // exchanges that were let through to find out
	Ejected             bool      // no exchange goes there but a probe: the breaker is not closed, or the endpoint is ill
	Share               float64   // of its full share of exchanges; below 1 for a while after it has recovered

	Health HealthState
}

// HealthState is what the checks of an endpoint have found.
type HealthState struct {
	Checked bool      // there are checks, and there has been one
	Ill     bool      // it has failed them
	Last    error     // of the last one; nil: it was good
	Time    time.Time // of the last one
	Passed  uint64
	Failed  uint64
}

// The keys of State.Retried.
const (
	RetryAnswered   = "answered"    // in the end
	RetryFailed     = "failed"      // in the end too
	RetryRetracted  = "retracted"   // the client was gone, or wrong
	RetryOverBudget = "over_budget" // not made: there have been too many
	RetryNoTime     = "no_time"     // not made: the exchange's time would have been over, or Retry-After was too long
)

func (r *retried) get() map[string]uint64 {
	return map[string]uint64{
		RetryAnswered: r.answered.Load(), RetryFailed: r.failed.Load(), RetryRetracted: r.retracted.Load(),
		RetryOverBudget: r.overBudget.Load(), RetryNoTime: r.noTime.Load(),
	}
}

// State returns the upstream as it is now.
func (u *Upstream) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := State{
		Open: u.open, Waiting: len(u.waiters),
		Opened: u.count.opened, Resumed: u.count.resumed, Reused: u.reused.Load(),
		Closed:  make(map[string]uint64, closings),
		Retries: u.retried.sent.Load(), Retried: u.retried.get(), Rejected: u.rejected.Load(),
	}
	for why := keep + 1; why < closings; why++ {
		s.Closed[closingNames[why]] = u.count.closed[why]
	}
	all := map[*endpoint]int{}
	if u.pool != nil {
		s.Generation, s.Idle = u.pool.generation, u.pool.idle
		s.Generations = append(s.Generations, u.pool.state())
		for c := range maps.Keys(u.pool.conns) {
			all[c.link.endpoint]++
		}
	}
	for _, p := range u.old {
		s.Generations = append(s.Generations, p.state())
	}
	now := time.Now()
	for i, e := range u.endpoints {
		es := e.state(now)
		if u.pool != nil {
			es.Idle = len(u.pool.links[i].idle)
		}
		es.Busy = all[e] - es.Idle
		s.Endpoints = append(s.Endpoints, es)
	}
	return s
}

// state is what the pool itself knows. The upstream's mutex is held.
func (p *pool) state() GenerationState {
	s := GenerationState{Generation: p.generation, Idle: p.idle, Until: p.until, Refused: p.refused()}
	for c := range p.conns {
		if c.tunnel {
			s.Tunnels++
		}
	}
	s.Busy = len(p.conns) - s.Idle - s.Tunnels
	return s
}

// state is what the endpoint itself knows. The upstream's mutex is held.
func (e *endpoint) state(now time.Time) EndpointState {
	b, h := &e.breaker, &e.health
	s := EndpointState{
		Address: e.name, Pending: e.pending, Drained: e.drained, Down: e.down, Attempts: e.attempts.Load(),
		Breaker: b.position(now), ConsecutiveFailures: b.failures, Opened: b.opened, Probes: b.probes,
		Ejected: b.open || e.ill, Share: b.share(now),
		Health: HealthState{Checked: h.checking && !h.time.IsZero(), Ill: e.ill, Last: h.last, Time: h.time, Passed: h.passed, Failed: h.lost},
	}
	if s.Breaker == Open {
		s.Until, s.Shunned = b.until, b.until
	}
	s.IPs, s.NoIP = e.addresses.present()
	s.Failures, s.LastError, s.LastTime = e.troubles.get()
	s.Unmade, s.UnmadeTime = e.troubles.prevented()
	return s
}

// Drain keeps new exchanges away from an endpoint, or from all with an empty name.
// Its idle connections close, busy ones after their exchange. It returns the
// endpoints concerned; none if there is no such one.
func (u *Upstream) Drain(address string) []string {
	u.mu.Lock()
	drained := u.each(address, func(e *endpoint) { e.drained = true })
	var idle []*conn
	if u.pool != nil {
		idle = u.pool.takeAll(func(c *conn) bool { return c.link.endpoint.drained }, closedDrained)
	}
	u.turnAway(time.Now())
	u.mu.Unlock()
	closeAll(idle)
	return drained
}

// Resume undoes Drain.
func (u *Upstream) Resume(address string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.each(address, func(e *endpoint) { e.drained = false })
}

// Reset forgets what exchanges and checks have found wrong with an endpoint, or with all
// with an empty name: it is used as if nothing had been.
func (u *Upstream) Reset(address string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.each(address, func(e *endpoint) {
		e.breaker.reset()
		e.troubles.connected()
		e.down, e.ill, e.health.run = false, false, 0
	})
}

func (u *Upstream) each(address string, do func(*endpoint)) (names []string) {
	for _, e := range u.endpoints {
		if address == "" || e.name == address {
			do(e)
			names = append(names, e.name)
		}
	}
	return slices.Clip(names)
}
