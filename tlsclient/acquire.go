package tlsclient

import (
	"fmt"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// waiter is an exchange that waits for a connection. It is sent a connection, or
// nil for the right to open one; the channel is closed with the upstream.
type waiter struct {
	ready chan *conn
}

// grant is what reserve gives: a connection, or a link to open one on, or a
// place in the queue.
type grant struct {
	conn   *conn
	link   *link
	waiter *waiter
}

// acquire returns a connection for one exchange; its endpoint counts it as
// pending until release. With fresh set it is a new one.
func (u *Upstream) acquire(ex *exchange, fresh bool) (*conn, error) {
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
	p := u.pool
	switch {
	case u.closed:
		return grant{}, errDraining()
	case p == nil:
		return grant{}, &Error{Class: IdentityUnavailable, Fault: FaultSelf,
			Err: fmt.Errorf("no certificate is loaded for upstream %q", u.opt().Name)}
	}
	if err := p.generation.valid(ex.now); err != nil {
		return grant{}, err
	}
	l := p.leastPending(ex)
	if l == nil {
		return grant{}, u.errDrained()
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
	for _, l := range p.links {
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

// await waits in the queue until there is a connection or the right to open one,
// or until the pool's patience or the client's ends.
func (u *Upstream) await(w *waiter, ex *exchange) (*conn, error) {
	begun := time.Now()
	defer func() { ex.queue += time.Since(begun) }()
	limit := time.NewTimer(u.opt().PoolWait)
	defer limit.Stop()
	tick := time.NewTicker(rawconn.TickInterval)
	defer tick.Stop()
	for {
		select {
		case c, ok := <-w.ready:
			switch {
			case !ok:
				return nil, errDraining()
			case c != nil:
				return c, nil
			}
			return u.connectWaited(ex)
		case <-limit.C:
			u.leave(w)
			u.rejected.Add(1)
			return nil, &Error{Class: Overloaded, Fault: FaultSelf,
				Err: fmt.Errorf("all %d connections of upstream %q stayed busy for %v; raise pool.max or pool.wait", u.opt().MaxConns, u.opt().Name, u.opt().PoolWait)}
		case <-tick.C:
			if err := ex.tick(); err != nil {
				u.leave(w)
				return nil, err
			}
		}
	}
}

// connectWaited opens a connection for a waiter that was given a place.
func (u *Upstream) connectWaited(ex *exchange) (*conn, error) {
	u.mu.Lock()
	if u.closed {
		u.freed(1)
		u.mu.Unlock()
		return nil, errDraining()
	}
	l := u.pool.leastPending(ex)
	if l == nil {
		u.freed(1)
		u.mu.Unlock()
		return nil, u.errDrained()
	}
	l.endpoint.pending++
	u.mu.Unlock()
	return u.connect(l, ex)
}

// leave takes w out of the queue and passes on what it was given meanwhile.
func (u *Upstream) leave(w *waiter) {
	u.mu.Lock()
	i := slices.Index(u.waiters, w)
	if i >= 0 {
		u.waiters = slices.Delete(u.waiters, i, i+1)
	}
	u.mu.Unlock()
	if i >= 0 {
		return
	}
	switch c, ok := <-w.ready; {
	case c != nil:
		u.release(c, true)
	case ok:
		u.mu.Lock()
		u.freed(1)
		u.mu.Unlock()
	}
}

// connect opens a connection whose place is counted already, and gives the place
// back if that fails.
func (u *Upstream) connect(l *link, ex *exchange) (*conn, error) {
	begun := time.Now()
	c, err := l.dial(ex)
	ex.connect += time.Since(begun)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		l.endpoint.attempts.Add(1)
		l.endpoint.pending--
		u.freed(1)
		ex.tried = append(ex.tried, l.endpoint)
		if e := asError(err); e != nil && e.Fault == FaultUpstream {
			l.endpoint.shunned, l.endpoint.down = time.Now().Add(shunTime), true
		}
		return nil, err
	}
	l.pool.conns[c] = struct{}{}
	l.endpoint.shunned, l.endpoint.down = time.Time{}, false
	u.count.opened++
	if c.resumed {
		u.count.resumed++
	}
	if l.pool.retired {
		c.closeAt(time.Now().Add(u.opt().RetireTimeout))
	}
	return c, nil
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
	switch {
	case !reusable:
		return closedUnfit
	case c.link.pool.retired:
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

func (u *Upstream) nextWaiter() *waiter {
	w := u.waiters[0]
	u.waiters = u.waiters[1:]
	return w
}

// forget takes c, which is not idle, out of the books. The mutex is held.
func (u *Upstream) forget(c *conn, why closing) {
	delete(c.link.pool.conns, c)
	u.count.closed[why]++
	u.freed(1)
}

// freed counts n connections less and gives their places to waiters. The mutex
// is held.
func (u *Upstream) freed(n int) {
	u.open -= n
	for len(u.waiters) > 0 && u.open < u.opt().MaxConns {
		u.open++
		u.nextWaiter().ready <- nil
	}
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

func errDraining() error {
	return &Error{Class: Draining, Fault: FaultSelf, Err: errClosed}
}
