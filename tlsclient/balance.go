package tlsclient

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// standing is how welcome an exchange is at an endpoint, in rising order.
type standing uint8

const (
	barred  standing = iota // drained, ill, or its breaker is open
	tried                   // by this exchange, in vain
	warming                 // it has just recovered, and has had its share for the moment
	ready
	due // for the one exchange that shows whether it has recovered
)

func (e *endpoint) standing(ex *exchange, now time.Time) standing {
	ok, probe := e.admits(now)
	switch {
	case !ok:
		return barred
	case slices.Contains(ex.tried, e):
		return tried
	case probe:
		return due
	case e.breaker.recovered.IsZero():
		return ready
	}
	if rand.Float64() >= e.breaker.share(now) { //nolint:gosec // it keeps no secret
		return warming
	}
	return ready
}

// admits reports whether an exchange may go to e, and whether it is to be the probe.
func (e *endpoint) admits(now time.Time) (ok, probe bool) {
	if e.drained || e.ill {
		return false, false
	}
	return e.breaker.admits(now)
}

// admits reports whether an exchange may go to any endpoint. The mutex is held.
func (u *Upstream) admits(now time.Time) bool {
	return slices.ContainsFunc(u.endpoints, func(e *endpoint) bool { ok, _ := e.admits(now); return ok })
}

// begin lets an exchange go to e, which counts it until end.
func (e *endpoint) begin() pass {
	e.pending++
	return e.breaker.begin()
}

// pick returns the link for an exchange, or nil if there is none: of two, one of them in
// turn and one at random, that with fewer exchanges. An endpoint that takes part in more
// than its share of such pairs does not exist, so none gets more than twice its fair
// share, however few exchanges it has; one that has just recovered takes part in less.
func (p *pool) pick(ex *exchange, now time.Time) *link {
	u := p.upstream
	if len(ex.tried) == 0 {
		u.turn++
	}
	best, n := barred, 0
	for _, l := range p.links {
		s := l.endpoint.standing(ex, now)
		if l.standing = s; s > best {
			best, n = s, 0
		}
		if s == best {
			n++
		}
	}
	switch {
	case best == barred:
		return nil
	case n == 1:
		return p.nth(best, 0)
	}
	first := u.turn % n
	second := first + 1
	if n > 2 {
		second += rand.IntN(n - 1) //nolint:gosec // it keeps no secret
	}
	a, b := p.nth(best, first), p.nth(best, second%n)
	if b.endpoint.pending < a.endpoint.pending {
		return b
	}
	return a
}

// nth returns the link that comes after i others of the same standing.
func (p *pool) nth(s standing, i int) *link {
	for _, l := range p.links {
		if l.standing != s {
			continue
		}
		if i == 0 {
			return l
		}
		i--
	}
	return nil
}

// choose returns the link for the next connection of ex. The mutex is held.
func (u *Upstream) choose(ex *exchange, now time.Time) (*link, error) {
	switch {
	case u.closed:
		return nil, errDraining()
	case u.pool == nil:
		return nil, u.lacking()
	}
	if err := u.pool.generation.valid(now); err != nil {
		return nil, err
	}
	if l := u.pool.pick(ex, now); l != nil {
		return l, nil
	}
	return nil, u.barred(now)
}

// barred is the answer when no endpoint may be used. The mutex is held.
func (u *Upstream) barred(now time.Time) error {
	var sick, broken *endpoint
	for _, e := range u.endpoints {
		switch {
		case e.drained:
		case e.ill:
			sick = e
		case broken == nil || e.breaker.wait(now) < broken.breaker.wait(now):
			broken = e
		}
	}
	name := u.opt().Name
	switch {
	case broken != nil:
		_, last, _ := broken.troubles.get()
		text := "nothing is known of why"
		if last != nil {
			text = fmt.Sprintf("the last time %s: %v", last.Class, last.Err)
		}
		return &Error{Class: BreakerOpen, Fault: FaultUpstream, Endpoint: broken.name, RetryAfter: broken.breaker.wait(now),
			Err: fmt.Errorf("upstream %q is left alone for a while after %d failures in a row; %s", name, broken.breaker.failures, text)}
	case sick != nil:
		return &Error{Class: NoEndpoint, Fault: FaultUpstream, Endpoint: sick.name, RetryAfter: u.opt().Health.Interval,
			Err: fmt.Errorf("every endpoint of upstream %q that is not drained fails its health check; the last: %w", name, sick.health.last)}
	}
	return &Error{Class: NoEndpoint, Fault: FaultSelf,
		Err: fmt.Errorf("every endpoint of upstream %q is drained; resume one", name)}
}

// wait is how long it takes until the breaker may let an exchange pass.
func (b *breaker) wait(now time.Time) time.Duration {
	return max(0, b.until.Sub(now))
}

// patience is how many failures in a row e may have. An endpoint that cannot be
// connected to is given up at once while there is another one. The last one that is left
// of several has three times the patience: what fails everywhere may be no endpoint's
// own fault, and giving up the last one is worse than giving up one. The mutex is held.
func (u *Upstream) patience(e *endpoint, unreachable bool, now time.Time) int {
	others, left := 0, 0
	for _, o := range u.endpoints {
		if o == e || o.drained {
			continue
		}
		others++
		if !o.ill && !o.breaker.open {
			left++
		}
	}
	n := u.opt().Breaker.Failures
	switch {
	case n == 0:
		return 0
	case unreachable && left > 0:
		return 1
	case left == 0 && others > 0:
		return lastPatience * n
	}
	return n
}

// lastPatience is how many times the failures are that the last endpoint left may have.
const lastPatience = 3

// excuse lets another exchange be the probe in place of the one on c, whose client takes
// its time with the body.
func (u *Upstream) excuse(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c.pass = c.link.endpoint.breaker.excuse(c.pass)
}

// end settles an exchange with e. The mutex is held.
func (u *Upstream) end(e *endpoint, p pass, came outcome, unreachable bool, now time.Time) {
	e.pending--
	u.settle(e, p, came, unreachable, now)
}

// settle tells e's breaker what came of an exchange. The mutex is held.
func (u *Upstream) settle(e *endpoint, p pass, came outcome, unreachable bool, now time.Time) {
	b := &e.breaker
	if came == answered && !p.probe && !p.excused || p.turn != b.turn { // as it mostly is
		if p.turn == b.turn {
			b.answered()
		}
		return
	}
	if b.settle(p, came, u.patience(e, unreachable, now), &u.opt().Breaker, now) {
		u.abandon(e, now)
	}
}

// abandon closes the idle connections to an endpoint that may no longer be used, and
// tells those who wait if there is none left for them. The mutex is held.
func (u *Upstream) abandon(e *endpoint, now time.Time) {
	if u.pool == nil || u.closed {
		return
	}
	if idle := u.pool.takeAll(func(c *conn) bool { return c.link.endpoint == e }, closedUnfit); len(idle) > 0 {
		u.tasks.Go(func() { closeAll(idle) }) // they say goodbye over the wire: not under the mutex
	}
	u.turnAway(now)
}

// turnAway tells those who wait if there is no endpoint for them. The mutex is held.
func (u *Upstream) turnAway(now time.Time) {
	if u.pool == nil || u.closed || u.admits(now) {
		return
	}
	err := u.barred(now)
	for _, w := range u.waiters {
		w.ready <- offer{err: err}
	}
	u.waiters = nil
}
