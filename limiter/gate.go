package limiter

import "sync"

// GateOptions are the bounds of a Gate.
type GateOptions struct {
	Capacity int // how many may be inside; 0 is no bound
	PerKey   int // how many of one key may be inside; 0 is no bound
	Queue    int // how many may wait; 0 is no queue
}

// Gate bounds how many are inside at once. Who finds no place waits in a queue in
// which keys take turns: however many wait with one key, another key's first waits
// for one of each key before it. Nobody is overtaken within a key.
//
// One key may fill the queue as long as no other wants it. After that, whoever comes
// to a full queue takes the place of the newest of the key that waits most, if that
// one still has no fewer waiting then. A key that holds all that it may waits in the
// same queue, and does not hold up others.
//
// The Gate remembers keys only while they are inside or wait.
type Gate struct {
	mu      sync.Mutex
	o       GateOptions
	members map[uint64]*member
	used    int
	waiting int

	// Keys that wait: in the order of their turns those that may enter when there is
	// room, and those that hold all that they may. If there is room, turns is empty.
	turns, held list[member]

	freeMembers []*member
	freeWaiters []*Waiter

	rejected  Rejected
	abandoned uint64
}

// member is a key that is inside or waits.
type member struct {
	key     uint64
	inside  int
	waiters list[Waiter]
	place   node[member]
	in      *list[member] // turns, held, or nil if nobody waits
}

// Ticket is a place inside. Its zero value is none.
type Ticket struct {
	gate   *Gate
	member *member
}

// NewGate returns a Gate with nobody inside.
func NewGate(o GateOptions) *Gate { return &Gate{o: o, members: make(map[uint64]*member)} }

// Enter gives out a ticket, which must be left, or a place in the queue, whose Wait
// must be called; or it returns a Rejection: Full, QueueFull or Caller.
func (g *Gate) Enter(key uint64) (Ticket, *Waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.member(key)
	if g.room() && g.may(m) {
		return g.take(m), nil, nil
	}
	if g.o.Queue <= 0 || g.waiting >= g.o.Queue && !g.displace(m) {
		why := QueueFull
		switch {
		case !g.may(m):
			why = Caller
		case g.o.Queue <= 0:
			why = Full
		}
		g.rejected[why]++
		g.forget(m)
		return Ticket{}, nil, why
	}
	return Ticket{}, g.enqueue(m), nil
}

// Leave gives the place back, to the next who waits. To leave a second time does
// nothing.
func (t *Ticket) Leave() {
	if t.gate == nil {
		return
	}
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used--
	t.member.inside--
	g.line(t.member)
	g.admit()
	g.forget(t.member)
	*t = Ticket{}
}

// Resize changes the bounds. A gate made larger admits who waits at once; one made
// smaller sends nobody away, and admits nobody until it holds fewer than it may.
func (g *Gate) Resize(o GateOptions) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.o = o
	for _, m := range g.members {
		g.line(m)
	}
	g.admit()
}

// Stats returns what the Gate holds. It looks at every key.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Stats{
		Capacity: int64(max(g.o.Capacity, 0)), Used: int64(g.used),
		QueueCapacity: int64(max(g.o.Queue, 0)), Waiting: int64(g.waiting),
		KeyCapacity: int64(max(g.o.PerKey, 0)), Rejected: g.rejected, Abandoned: g.abandoned,
	}
	for _, m := range g.members {
		s.KeyUsed = max(s.KeyUsed, int64(m.inside))
	}
	return s
}

// All that follows is called with the mutex held.

func (g *Gate) room() bool         { return g.o.Capacity <= 0 || g.used < g.o.Capacity }
func (g *Gate) may(m *member) bool { return g.o.PerKey <= 0 || m.inside < g.o.PerKey }

func (g *Gate) take(m *member) Ticket {
	g.used++
	m.inside++
	return Ticket{gate: g, member: m}
}

func (g *Gate) member(key uint64) *member {
	m := g.members[key]
	if m != nil {
		return m
	}
	if last := len(g.freeMembers) - 1; last >= 0 {
		m, g.freeMembers = g.freeMembers[last], g.freeMembers[:last]
	} else {
		m = new(member)
		m.place.of = m
	}
	m.key = key
	g.members[key] = m
	return m
}

// forget lets go of a key that is neither inside nor waits. A ticket or a waiter
// holds on to its member otherwise, so none is given out again too early.
func (g *Gate) forget(m *member) {
	if m.inside == 0 && m.waiters.n == 0 {
		delete(g.members, m.key)
		g.freeMembers = append(g.freeMembers, m)
	}
}

// line puts m where it belongs among those that wait. One that belongs where it is
// keeps its turn.
func (g *Gate) line(m *member) {
	var to *list[member]
	switch {
	case m.waiters.n == 0:
	case g.may(m):
		to = &g.turns
	default:
		to = &g.held
	}
	if m.in == to {
		return
	}
	g.unline(m)
	if m.in = to; to != nil {
		to.push(&m.place)
	}
}

func (g *Gate) unline(m *member) {
	if m.in != nil {
		m.in.remove(&m.place)
		m.in = nil
	}
}

// admit lets in who waits, key by key, as long as there is room.
func (g *Gate) admit() {
	for g.room() && g.turns.n > 0 {
		m := g.turns.front.of
		g.unline(m) // its next turn comes after all others'
		w := m.waiters.front.of
		g.dequeue(w)
		w.settle(g.take(m), nil)
		g.line(m)
	}
}
