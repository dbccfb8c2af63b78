package tlsclient

import "time"

// connect opens a connection whose place is counted already, and gives the place
// back if that fails. What was begun with a generation that was replaced meanwhile is
// begun again with the present one: nothing has been written yet.
func (u *Upstream) connect(l *link, ex *exchange) (*conn, error) {
	for {
		ex.turn(time.Now())
		c, err := l.dial(ex)
		ex.connect += time.Since(ex.now)
		kept, next, err := u.dialled(l, ex, c, err)
		if c != nil && !kept {
			c.close()
		}
		switch {
		case err != nil:
			return nil, err
		case kept:
			return c, nil
		}
		l = next
	}
}

// dialled enters what came of a dial into the books. If it is neither kept nor an
// error, next is the link to dial instead.
func (u *Upstream) dialled(l *link, ex *exchange, c *conn, err error) (kept bool, next *link, _ error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e := l.endpoint
	replaced := l.pool.retired.Load()
	if err == nil {
		e.down = false
		u.count.opened++
		if c.resumed {
			u.count.resumed++
		}
		if !replaced {
			l.pool.conns[c] = struct{}{}
			c.take(ex.pass)
			return true, nil, nil
		}
		u.count.closed[closedRetired]++
	}
	u.end(e, ex.pass, ex.unreached(err, replaced), true, time.Now())
	if replaced && ex.stopped == nil && (err == nil || ofGeneration(err)) {
		next, err = u.aim(ex)
		return false, next, err
	}
	u.freed(1)
	if err == nil {
		return false, nil, ex.stopped
	}
	e.attempts.Add(1)
	ex.tried = append(ex.tried, e)
	if f := asError(err); f != nil && f.Fault == FaultUpstream {
		e.down = true
	}
	return false, nil, err
}

// unreached is what it says of an endpoint that no connection to it was made, or none that
// is of use. The mutex is held.
func (ex *exchange) unreached(err error, replaced bool) outcome {
	e := asError(err)
	switch {
	case e == nil || e.Fault != FaultUpstream || replaced && ofGeneration(err):
		return unknown
	case ex.stopped != nil && !ex.hadItsTime():
		return unknown
	}
	return failed
}

// ofGeneration reports whether a dial that failed with err might succeed with another
// generation.
func ofGeneration(err error) bool {
	e := asError(err)
	if e == nil {
		return false
	}
	switch e.Class {
	case ClientCertRejected, TLSVerifyFailed, TLSFailed, IdentityExpired, IdentityUnavailable:
		return true
	}
	return false
}

// renew gives ex a new connection in place of c, whose generation was replaced before
// anything was written to it.
func (u *Upstream) renew(c *conn, ex *exchange) (*conn, error) {
	u.mu.Lock()
	u.end(c.link.endpoint, c.pass, unknown, false, time.Now())
	u.drop(c, closedRetired)
	l, err := u.aim(ex)
	u.mu.Unlock()
	c.close()
	if err != nil {
		return nil, err
	}
	return u.connect(l, ex)
}

// aim chooses the link for a connection whose place is counted already, and gives the
// place back if there is none. The mutex is held.
func (u *Upstream) aim(ex *exchange) (*link, error) {
	l, err := u.choose(ex, time.Now())
	if err != nil {
		u.freed(1)
		return nil, err
	}
	ex.pass = l.endpoint.begin()
	return l, nil
}
