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
			Err: fmt.Errorf("no certificate is loaded for upstream %q", u.opt.Name)}
	}
	if err := p.generation.valid(ex.now); err != nil {
		return grant{}, err
	}
	l := p.leastPending(ex)
	if !fresh {
		if c := u.popUsable(l, ex.now); c != nil {
			return grant{conn: c}, nil
		}
	}
	if u.open < u.opt.MaxConns {
		u.open++
		l.endpoint.pending++
		return grant{link: l}, nil
	}
	for _, l := range p.links {
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
// that this exchange has tried after them.
func (p *pool) leastPending(ex *exchange) *link {
	if len(p.links) == 1 {
		return p.links[0]
	}
	u := p.upstream
	if len(ex.tried) == 0 {
		u.turn++
	}
	rank := func(l *link) int {
		switch {
		case slices.Contains(ex.tried, l.endpoint):
			return 2
		case ex.now.Before(l.endpoint.shunned):
			return 1
		}
		return 0
	}
	best := p.links[u.turn%len(p.links)]
	bestRank := rank(best)
	for i := 1; i < len(p.links); i++ {
		l := p.links[(u.turn+i)%len(p.links)]
		if r := rank(l); r < bestRank || r == bestRank && l.endpoint.pending < best.endpoint.pending {
			best, bestRank = l, r
		}
	}
	return best
}

// popUsable takes the last used idle connection that is not too old.
func (u *Upstream) popUsable(l *link, now time.Time) *conn {
	for {
		c := l.pop()
		if c == nil {
			return nil
		}
		if now.Before(c.expires) && now.Sub(c.idleSince) < u.opt.IdleTimeout {
			l.endpoint.pending++
			return c
		}
		u.forget(c)
		u.tasks.Go(c.close) // it says goodbye over the wire: not under the mutex
	}
}

// await waits in the queue until there is a connection or the right to open one,
// or until the pool's patience or the client's ends.
func (u *Upstream) await(w *waiter, ex *exchange) (*conn, error) {
	limit := time.NewTimer(u.opt.PoolWait)
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
			return nil, &Error{Class: Overloaded, Fault: FaultSelf,
				Err: fmt.Errorf("all %d connections of upstream %q stayed busy for %v; raise pool.max or pool.wait", u.opt.MaxConns, u.opt.Name, u.opt.PoolWait)}
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
	c, err := l.dial(ex)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		l.endpoint.pending--
		u.freed(1)
		ex.tried = append(ex.tried, l.endpoint)
		l.endpoint.shunned = time.Now().Add(shunTime)
		return nil, err
	}
	l.pool.conns[c] = struct{}{}
	if l.pool.retired {
		c.closeAt(time.Now().Add(u.opt.RetireTimeout))
	}
	return c, nil
}

// release ends an exchange's use of c, which goes to a waiter, back to the pool,
// or is closed.
func (u *Upstream) release(c *conn, reusable bool) {
	now := time.Now()
	u.mu.Lock()
	c.link.endpoint.pending--
	reusable = reusable && !c.link.pool.retired && now.Before(c.expires)
	switch {
	case !reusable:
		u.forget(c)
	case len(u.waiters) > 0:
		c.link.endpoint.pending++
		u.nextWaiter().ready <- c
	default:
		c.link.push(c, now)
	}
	u.mu.Unlock()
	if !reusable {
		c.close()
	}
}

func (u *Upstream) nextWaiter() *waiter {
	w := u.waiters[0]
	u.waiters = u.waiters[1:]
	return w
}

// forget takes c, which is not idle, out of the books. The mutex is held.
func (u *Upstream) forget(c *conn) {
	delete(c.link.pool.conns, c)
	u.freed(1)
}

// freed counts n connections less and gives their places to waiters. The mutex
// is held.
func (u *Upstream) freed(n int) {
	u.open -= n
	for len(u.waiters) > 0 && u.open < u.opt.MaxConns {
		u.open++
		u.nextWaiter().ready <- nil
	}
}

func errDraining() error {
	return &Error{Class: Draining, Fault: FaultSelf, Err: errClosed}
}
