package tlsclient

import (
	"fmt"
	"slices"
	"time"
)

// grant is what reserve gives: a connection, or a link to open one on, or a
// place in the queue.
type grant struct {
	conn   *conn
	link   *link
	waiter *waiter
}

// acquire returns a connection of the present generation for one exchange; its
// endpoint counts it as pending until release. With fresh set it is a new one.
func (u *Upstream) acquire(ex *exchange, fresh bool) (*conn, error) {
	c, err := u.obtain(ex, fresh)
	for err == nil && c.link.pool.retired.Load() {
		c, err = u.renew(c, ex)
	}
	return c, err
}

func (u *Upstream) obtain(ex *exchange, fresh bool) (*conn, error) {
	g, err := u.reserve(ex, fresh)
	switch {
	case err != nil:
		return nil, err
	case g.conn != nil:
		return g.conn, nil
	case g.link != nil:
		return u.connect(g.link, ex)
	}
	return u.await(g.waiter, ex)
}

func (u *Upstream) reserve(ex *exchange, fresh bool) (grant, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, err := u.choose(ex, ex.now)
	if err != nil {
		return grant{}, err
	}
	if !fresh {
		if c := u.popUsable(l, ex.now); c != nil {
			return grant{conn: c}, nil
		}
	}
	if u.open < u.opt().MaxConns {
		u.open++
		l.endpoint.pending++
		return grant{link: l}, nil
	}
	for _, l := range u.pool.links {
		if l.endpoint.drained {
			continue
		}
		if c := u.popUsable(l, ex.now); c != nil {
			return grant{conn: c}, nil
		}
	}
	w := &waiter{ready: make(chan *conn, 1)}
	u.waiters = append(u.waiters, w)
	return grant{waiter: w}, nil
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
	if l := u.pool.leastPending(ex); l != nil {
		return l, nil
	}
	return nil, u.errDrained()
}

// shunTime is how long an endpoint that could not be reached is tried only after
// all others.
const shunTime = 5 * time.Second

// leastPending returns the link whose endpoint has the fewest exchanges, in turn
// among equals. Endpoints that could not be reached a moment ago come last, those
// that this exchange has tried after them. It returns nil if all are drained.
func (p *pool) leastPending(ex *exchange) *link {
	u := p.upstream
	if len(ex.tried) == 0 {
		u.turn++
	}
	var best *link
	bestRank := 0
	for i := range p.links {
		l := p.links[(u.turn+i)%len(p.links)]
		if l.endpoint.drained {
			continue
		}
		r := l.endpoint.rank(ex)
		if best == nil || r < bestRank || r == bestRank && l.endpoint.pending < best.endpoint.pending {
			best, bestRank = l, r
		}
	}
	return best
}

// rank is how late an endpoint's turn comes.
func (e *endpoint) rank(ex *exchange) int {
	switch {
	case slices.Contains(ex.tried, e):
		return 2
	case ex.now.Before(e.shunned):
		return 1
	}
	return 0
}

// popUsable takes the last used idle connection that is not too old.
func (u *Upstream) popUsable(l *link, now time.Time) *conn {
	for {
		c := l.pop()
		if c == nil {
			return nil
		}
		if now.Before(c.expires) && now.Sub(c.idleSince) < u.opt().IdleTimeout {
			l.endpoint.pending++
			return c
		}
		u.forget(c, closedIdle)
		u.tasks.Go(c.close) // it says goodbye over the wire: not under the mutex
	}
}

// release ends an exchange's use of c, which goes to a waiter, back to the pool,
// or is closed.
func (u *Upstream) release(c *conn, reusable bool) {
	now := time.Now()
	u.mu.Lock()
	c.link.endpoint.pending--
	why := u.unfit(c, reusable, now)
	if reusable { // it has answered
		c.link.endpoint.down = false
	}
	switch {
	case why != keep:
		u.forget(c, why)
	case len(u.waiters) > 0:
		c.link.endpoint.pending++
		u.nextWaiter().ready <- c
	default:
		c.link.push(c, now)
	}
	u.mu.Unlock()
	if why != keep {
		c.close()
	}
}

// unfit is why c cannot carry another exchange.
func (u *Upstream) unfit(c *conn, reusable bool, now time.Time) closing {
	d := c.doom.Load()
	switch {
	case d != nil:
		return d.why
	case !reusable:
		return closedUnfit
	case c.link.pool.retired.Load():
		return closedRetired
	case c.link.endpoint.drained:
		return closedDrained
	case !now.Before(c.expires):
		return closedAge
	case u.open > u.opt().MaxConns:
		return closedSurplus
	}
	return keep
}

// forget takes c, which is not idle, out of the books. The mutex is held.
func (u *Upstream) forget(c *conn, why closing) {
	u.drop(c, why)
	u.freed(1)
}

// untried reports whether there is an endpoint that ex has not tried and may.
func (u *Upstream) untried(ex *exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.ContainsFunc(u.endpoints, func(e *endpoint) bool { return !e.drained && !slices.Contains(ex.tried, e) })
}

// errDrained is the answer when no endpoint may be used.
func (u *Upstream) errDrained() error {
	return &Error{Class: NoEndpoint, Fault: FaultSelf,
		Err: fmt.Errorf("every endpoint of upstream %q is drained; resume one", u.opt().Name)}
}

func errDraining() *Error {
	return &Error{Class: Draining, Fault: FaultSelf, Err: errClosed}
}
