package tlsclient

import (
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
		ex.begun = true
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
	if !ex.entered { // what is turned away must not pay for the retries of others
		ex.entered = true
		u.budget.request(u.second(ex.now))
	}
	if !fresh {
		if c := u.popUsable(l, ex.now); c != nil {
			return grant{conn: c}, nil
		}
	}
	if u.open < u.opt().MaxConns {
		u.open++
		ex.pass = l.endpoint.begin()
		return grant{link: l}, nil
	}
	for _, l := range u.pool.links {
		if ok, _ := l.endpoint.admits(ex.now); !ok {
			continue
		}
		if c := u.popUsable(l, ex.now); c != nil {
			return grant{conn: c}, nil
		}
	}
	w := &waiter{ready: make(chan offer, 1)}
	u.waiters = append(u.waiters, w)
	return grant{waiter: w}, nil
}

// popUsable takes the last used idle connection that is not too old.
func (u *Upstream) popUsable(l *link, now time.Time) *conn {
	for {
		c := l.pop()
		if c == nil {
			return nil
		}
		if now.Before(c.expires) && now.Sub(c.idleSince) < u.opt().IdleTimeout {
			c.take(l.endpoint.begin())
			return c
		}
		u.forget(c, closedIdle)
		u.tasks.Go(c.close) // it says goodbye over the wire: not under the mutex
	}
}

// take makes the connection an exchange's that passes to its endpoint with p.
func (c *conn) take(p pass) {
	c.pass, c.came, c.headed = p, unknown, time.Time{}
}

// alive notes that c's endpoint has answered, before the exchange ends.
func (u *Upstream) alive(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settle(c.link.endpoint, c.pass, answered, false, time.Now())
}

// newsTime is how old the head of a response may be to outweigh what has failed since. A
// download or a tunnel that ends long after it says nothing of how its endpoint is now.
const newsTime = 3 * time.Second

// release ends an exchange's use of c, which goes to a waiter, back to the pool,
// or is closed.
func (u *Upstream) release(c *conn, reusable bool) {
	now := time.Now()
	u.mu.Lock()
	e := c.link.endpoint
	came := c.came
	if came == answered && now.Sub(c.headed) > newsTime && c.headed.Before(e.breaker.failed) {
		came = unknown
	}
	u.end(e, c.pass, came, false, now)
	why := u.unfit(c, reusable, now)
	if reusable { // it has answered
		e.down = false
	}
	switch {
	case why != keep:
		u.forget(c, why)
	case len(u.waiters) > 0:
		c.take(e.begin())
		u.nextWaiter().ready <- offer{conn: c}
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
	case c.link.endpoint.ill || c.link.endpoint.breaker.open:
		return closedUnfit
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

func errDraining() *Error {
	return &Error{Class: Draining, Fault: FaultSelf, Err: errClosed}
}
