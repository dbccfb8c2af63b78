package tlsclient

import (
	"fmt"
	"time"
)

// Use makes g the generation of all new connections. Those of the one before carry no
// exchange that begins from now on. Idle ones close at once, busy ones after their
// exchange or at the latest after RetireTimeout, tunnels with their certificate.
func (u *Upstream) Use(g *Generation) {
	next := newPool(u, g)
	u.mu.Lock()
	old := u.pool
	u.pool = next
	var idle []*conn
	if old != nil {
		idle = old.retire(u.opt().RetireTimeout, time.Now())
	}
	if !u.closed {
		next.timer = time.AfterFunc(time.Until(g.Leaf.NotAfter), next.ring)
	}
	for _, e := range u.endpoints { // it may have been the certificate
		e.breaker.hasten(time.Now())
	}
	u.mu.Unlock()
	closeAll(idle)
}

// Lack says why there is no generation yet, for the answers until the first Use; after
// it nothing changes. The class is IdentityExpired or IdentityUnavailable; err names the
// identity, what is wrong with it and what mends it.
func (u *Upstream) Lack(class Class, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lack = &Error{Class: class, Fault: FaultSelf, Err: fmt.Errorf("upstream %q has no certificate to show: %w", u.Name(), err)}
}

// lacking is the answer while there is no generation. The mutex is held.
func (u *Upstream) lacking() error {
	if u.lack != nil {
		return u.lack
	}
	return &Error{Class: IdentityUnavailable, Fault: FaultSelf, Err: fmt.Errorf("no certificate is loaded for upstream %q; put the files of its identity in place", u.Name())}
}

// Generation returns the generation in use, or nil.
func (u *Upstream) Generation() *Generation {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pool == nil {
		return nil
	}
	return u.pool.generation
}
