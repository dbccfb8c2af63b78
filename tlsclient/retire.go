package tlsclient

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrRetired is why an exchange was cut at the retire deadline. Its class is Draining.
var ErrRetired = errors.New("it belonged to a generation that was replaced")

// doom is why a connection was cut while it was in use.
type doom struct {
	why closing
	err *Error // what its exchange ends with
}

// doomed returns what the exchange on a connection that was cut ends with, or nil.
func (c *conn) doomed() *Error {
	if d := c.doom.Load(); d != nil {
		return d.err
	}
	return nil
}

// leaving are connections that have to go: idle ones, and ones in use.
type leaving struct {
	idle, busy []*conn
}

func (l *leaving) add(more leaving) {
	l.idle = append(l.idle, more.idle...)
	l.busy = append(l.busy, more.busy...)
}

// end ends them. Those in use come first: to say goodbye may take a while. The mutex
// is not held.
func (l leaving) end() {
	for _, c := range l.busy {
		c.cut()
	}
	closeAll(l.idle)
}

// doomBusy marks the connections in use, with tunnels set those too, so that they
// carry no other exchange even if they are done before they are cut.
func (p *pool) doomBusy(tunnels bool, why closing, err *Error) (cut []*conn) {
	for c := range p.conns {
		if c.tunnel && !tunnels {
			continue
		}
		e := *err
		e.Endpoint = c.link.endpoint.name
		if c.doom.CompareAndSwap(nil, &doom{why: why, err: &e}) {
			cut = append(cut, c)
		}
	}
	return cut
}

// retire ends the pool of a generation that is replaced: its idle connections go now,
// busy ones have span for their exchange, tunnels stay. It returns the idle ones. The
// upstream's mutex is held.
func (p *pool) retire(span time.Duration, now time.Time) []*conn {
	p.retired.Store(true)
	p.until = now.Add(span)
	if end := p.generation.Leaf.NotAfter; end.Before(p.until) {
		p.until = end
	}
	idle := p.takeAll(func(*conn) bool { return true }, closedRetired)
	if len(p.conns) == 0 {
		p.silence()
		return idle
	}
	p.upstream.old = slices.Insert(p.upstream.old, 0, p)
	p.span = span
	p.timer.Reset(p.until.Sub(now))
	return idle
}

// ring is what the pool's timer does: it cuts what must not live any longer, and comes
// back for the rest. The clock may have been set since it was wound, so the certificate
// is looked at once a second as well.
func (p *pool) ring() {
	u := p.upstream
	now := time.Now()
	var out leaving
	u.mu.Lock()
	switch retired := p.retired.Load(); {
	case u.closed:
	case p.expired(now):
		out = p.expire()
	case retired && now.Before(p.until):
		p.timer.Reset(p.until.Sub(now))
	default:
		if retired {
			out.busy = p.overstayed(p.span)
		}
		p.timer.Reset(p.generation.Leaf.NotAfter.Sub(now))
	}
	u.mu.Unlock()
	out.end()
}

// silence stops the timer. The mutex is held.
func (p *pool) silence() {
	if p.timer != nil { // there is none if the upstream was closed before
		p.timer.Stop()
	}
}

// overstayed dooms what is busy at the retire deadline, span after it was replaced.
func (p *pool) overstayed(span time.Duration) []*conn {
	g := p.generation
	return p.doomBusy(false, closedRetired, &Error{Class: Draining, Fault: FaultSelf,
		Err: fmt.Errorf("the connection was cut by this end: %w: generation %d of identity %q, replaced %v ago; pool.retire_timeout is how long an exchange may go on",
			ErrRetired, g.Number, g.Identity, span)})
}

// expired reports whether no connection of the pool may live any more at now.
func (p *pool) expired(now time.Time) bool { return !now.Before(p.generation.Leaf.NotAfter) }

// expire ends all connections of a pool whose certificate has expired.
func (p *pool) expire() leaving {
	g := p.generation
	return leaving{
		idle: p.takeAll(func(*conn) bool { return true }, closedExpired),
		busy: p.doomBusy(true, closedExpired, &Error{Class: IdentityExpired, Fault: FaultSelf,
			Err: fmt.Errorf("the connection was cut by this end: the certificate of identity %q (generation %d) that it was made with expired on %s, while the exchange was under way; renew certificates earlier",
				g.Identity, g.Number, g.Leaf.NotAfter.UTC().Format(time.RFC3339))}),
	}
}

// drop takes c, which is not idle, out of its pool, and with the last one an older
// generation's pool out of the books. Its place stays counted. The mutex is held.
func (u *Upstream) drop(c *conn, why closing) {
	p := c.link.pool
	delete(p.conns, c)
	u.count.closed[why]++
	if !p.retired.Load() || len(p.conns) > 0 {
		return
	}
	p.silence()
	u.old = slices.DeleteFunc(u.old, func(o *pool) bool { return o == p })
}
