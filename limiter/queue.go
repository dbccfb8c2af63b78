package limiter

import "time"

// Waiter is a place in a Gate's queue.
type Waiter struct {
	gate   *Gate
	member *member
	place  node[Waiter]

	// What became of it, written under the gate's mutex before ready is sent to.
	settled bool
	ticket  Ticket
	err     error
	ready   chan struct{} // of capacity 1
}

// Wait blocks until there is a place inside, and returns its ticket, which must be
// left. It returns Timeout, or Caller if the key holds all that it may, when there is
// something to receive from limit; QueueFull when another key needed the place in the
// queue; and check's error when check, which is called at each tick, returns one. Either of limit and tick may be nil; check may be if tick is.
// The waiter must not be used again.
func (w *Waiter) Wait(limit, tick <-chan time.Time, check func() error) (Ticket, error) {
	for {
		select {
		case <-w.ready:
			return w.end()
		case <-limit:
			w.expire()
			return w.end()
		case <-tick:
			if err := check(); err != nil {
				w.abandon()
				return Ticket{}, err
			}
		}
	}
}

// settle says what became of w. The mutex is held, and w is in no queue any more.
func (w *Waiter) settle(t Ticket, err error) {
	w.settled, w.ticket, w.err = true, t, err
	w.ready <- struct{}{}
}

// end returns what became of w, which is settled, and gives w away.
func (w *Waiter) end() (Ticket, error) {
	g := w.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t, err := w.ticket, w.err
	select { // it has not been received if the limit came at the same moment
	case <-w.ready:
	default:
	}
	w.settled, w.ticket, w.err, w.member = false, Ticket{}, nil, nil
	g.freeWaiters = append(g.freeWaiters, w)
	return t, err
}

// expire settles w because of its limit, unless it was settled at the same moment:
// then it keeps what it was given.
func (w *Waiter) expire() {
	g := w.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.settled {
		return
	}
	why := Timeout
	if !g.may(w.member) {
		why = Caller
	}
	g.rejected[why]++
	g.refuse(w, why)
}

// abandon takes w out of the queue, and leaves the place that it was given meanwhile.
func (w *Waiter) abandon() {
	g := w.gate
	g.mu.Lock()
	if !w.settled {
		g.refuse(w, nil)
	}
	if w.err == nil { // or it is counted as a rejection
		g.abandoned++
	}
	g.mu.Unlock()
	t, _ := w.end()
	t.Leave()
}

// All that follows is called with the mutex held.

func (g *Gate) enqueue(m *member) *Waiter {
	var w *Waiter
	if last := len(g.freeWaiters) - 1; last >= 0 {
		w, g.freeWaiters = g.freeWaiters[last], g.freeWaiters[:last]
	} else {
		w = &Waiter{gate: g, ready: make(chan struct{}, 1)}
		w.place.of = w
	}
	w.member = m
	m.waiters.push(&w.place)
	g.waiting++
	g.line(m)
	return w
}

func (g *Gate) dequeue(w *Waiter) {
	w.member.waiters.remove(&w.place)
	g.waiting--
}

// refuse settles w without a place.
func (g *Gate) refuse(w *Waiter, err error) {
	g.dequeue(w)
	g.line(w.member)
	g.forget(w.member)
	w.settle(Ticket{}, err)
}

// displace makes room in the queue for one of m's, if another key waits with at least
// two more than m.
func (g *Gate) displace(m *member) bool {
	longest := m
	for _, l := range [...]*list[member]{&g.turns, &g.held} {
		for e := l.front; e != nil; e = e.next {
			if e.of.waiters.n > longest.waiters.n {
				longest = e.of
			}
		}
	}
	if longest.waiters.n < m.waiters.n+2 {
		return false
	}
	g.rejected[QueueFull]++
	g.refuse(longest.waiters.back.of, QueueFull)
	return true
}
