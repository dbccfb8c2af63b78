package tlsclient

import (
	"fmt"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// waiter is an exchange that waits for a connection. It is sent an offer; the channel is
// closed with the upstream.
type waiter struct {
	ready chan offer
}

// offer is a connection, or the reason why there will be none, or else the right to open
// one.
type offer struct {
	conn *conn
	err  error
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
		case o, ok := <-w.ready:
			switch {
			case !ok:
				return nil, errDraining()
			case o.err != nil:
				return nil, o.err
			case o.conn != nil:
				if err := ex.tick(); err != nil { // since the last tick
					u.release(o.conn, true)
					return nil, err
				}
				ex.turn(time.Now())
				return o.conn, nil
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
	l, err := u.aim(ex)
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
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
	switch o, ok := <-w.ready; {
	case o.conn != nil:
		u.release(o.conn, true)
	case ok && o.err == nil:
		u.mu.Lock()
		u.freed(1)
		u.mu.Unlock()
	}
}

func (u *Upstream) nextWaiter() *waiter {
	w := u.waiters[0]
	u.waiters = u.waiters[1:]
	return w
}

// freed counts n connections less and gives their places to waiters. The mutex
// is held.
func (u *Upstream) freed(n int) {
	u.open -= n
	for len(u.waiters) > 0 && u.open < u.opt().MaxConns {
		u.open++
		u.nextWaiter().ready <- offer{}
	}
}
