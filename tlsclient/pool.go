package tlsclient

import (
	"crypto/tls"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// pool holds the connections of one generation. The upstream's mutex guards it.
type pool struct {
	upstream   *Upstream
	generation *Generation
	links      []*link // one for each endpoint, in the upstream's order
	idle       int     // connections in the links
	conns      map[*conn]struct{}

	// Of a generation that was replaced; retired is set under the mutex and may be
	// read without.
	retired atomic.Bool
	until   time.Time     // when its busy connections are cut, but for tunnels
	span    time.Duration // from when it was replaced until then

	refusals atomic.Int64 // how many answers were refusals, if all were; or else accepted
	timer    *time.Timer  // at until, and at the certificate's NotAfter
}

// link is what a pool has for one endpoint.
type link struct {
	pool     *pool
	endpoint *endpoint
	config   *tls.Config
	idle     []*conn  // the last used at the end
	standing standing // in the last search for one
}

func newPool(u *Upstream, g *Generation) *pool {
	p := &pool{upstream: u, generation: g, conns: make(map[*conn]struct{})}
	for _, e := range u.endpoints {
		p.links = append(p.links, &link{pool: p, endpoint: e, config: g.config(e.serverName(u.opt()), u.opt())})
	}
	return p
}

// pop takes the most recently used idle connection: the others may grow old and
// go, so the pool shrinks to what is needed.
func (l *link) pop() *conn {
	last := len(l.idle) - 1
	if last < 0 {
		return nil
	}
	c := l.idle[last]
	l.idle[last] = nil
	l.idle = l.idle[:last]
	l.pool.idle--
	return c
}

func (l *link) push(c *conn, now time.Time) {
	c.idleSince = now
	l.idle = append(l.idle, c)
	l.pool.idle++
}

// take removes the idle connections for which there is a reason to close them.
func (p *pool) take(why func(*conn) closing) []*conn {
	var out []*conn
	for _, l := range p.links {
		kept := l.idle[:0]
		for _, c := range l.idle {
			reason := why(c)
			if reason == keep {
				kept = append(kept, c)
				continue
			}
			out = append(out, c)
			delete(p.conns, c)
			p.upstream.count.closed[reason]++
		}
		clear(l.idle[len(kept):])
		l.idle = kept
	}
	p.idle -= len(out)
	p.upstream.freed(len(out))
	return out
}

// takeAll is take with one reason for all that are wanted.
func (p *pool) takeAll(want func(*conn) bool, why closing) []*conn {
	return p.take(func(c *conn) closing {
		if want(c) {
			return why
		}
		return keep
	})
}

// thin takes what has been idle or in use too long or was closed by the server,
// and of the rest above MaxIdle what was not needed for a second, the longest
// idle first.
func (p *pool) thin(now time.Time) []*conn {
	o := p.upstream.opt()
	out := p.take(func(c *conn) closing {
		switch {
		case now.Sub(c.idleSince) >= o.IdleTimeout:
			return closedIdle
		case !now.Before(c.expires):
			return closedAge
		case !c.sock.Quiet():
			return closedPeer
		}
		return keep
	})
	surplus := max(p.idle-o.MaxIdle, p.upstream.open-o.MaxConns)
	if surplus <= 0 {
		return out
	}
	return append(out, p.takeAll(func(c *conn) bool {
		if surplus > 0 && now.Sub(c.idleSince) >= time.Second {
			surplus--
			return true
		}
		return false
	}, closedSurplus)...)
}

// expiry is until when a connection made at now may be used: its age limit less
// up to a tenth, so that connections made together do not end together, and never
// beyond the certificate it was made with.
func (p *pool) expiry(now time.Time) time.Time {
	end := p.generation.Leaf.NotAfter
	age := p.upstream.opt().MaxAge
	if age == 0 {
		return end
	}
	t := now.Add(age - time.Duration(rand.Int64N(int64(age)/10+1)))
	if end.Before(t) {
		return end
	}
	return t
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
}
