package limiter

import "sync"

// CounterOptions are the bounds of a Counter. 0 is no bound.
type CounterOptions struct {
	Capacity int // of all keys together
	PerKey   int
}

// Counter bounds how many connections are open, in total and by key. Nobody waits
// for it. It remembers keys only while they hold something.
type Counter struct {
	mu       sync.Mutex
	o        CounterOptions
	used     int
	keys     map[uint64]int
	rejected Rejected
}

// Seat is what one connection holds of a Counter. Its zero value holds nothing.
type Seat struct {
	counter *Counter
	key     uint64
	claimed bool
}

// NewCounter returns a Counter that counts nothing yet.
func NewCounter(o CounterOptions) *Counter { return &Counter{o: o, keys: make(map[uint64]int)} }

// Enter counts a connection whose key may not be known yet, or returns Full. The seat
// must be left.
func (c *Counter) Enter() (Seat, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Capacity > 0 && c.used >= c.o.Capacity {
		c.rejected[Full]++
		return Seat{}, Full
	}
	c.used++
	return Seat{counter: c}, nil
}

// Claim counts the connection for key, too, or returns Caller, after which the seat
// is still counted in total and must be left. A seat that has a key keeps it.
func (s *Seat) Claim(key uint64) error {
	c := s.counter
	if c == nil || s.claimed {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.keys[key]
	if c.o.PerKey > 0 && n >= c.o.PerKey {
		c.rejected[Caller]++
		return Caller
	}
	c.keys[key] = n + 1
	s.key, s.claimed = key, true
	return nil
}

// Leave ends the counting. To leave a second time does nothing.
func (s *Seat) Leave() {
	c := s.counter
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used--
	if s.claimed {
		if n := c.keys[s.key]; n > 1 {
			c.keys[s.key] = n - 1
		} else {
			delete(c.keys, s.key)
		}
	}
	*s = Seat{}
}

// Resize changes the bounds. No connection loses its seat.
func (c *Counter) Resize(o CounterOptions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o = o
}

// Stats returns what the Counter holds. It looks at every key.
func (c *Counter) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{
		Capacity: int64(max(c.o.Capacity, 0)), Used: int64(c.used), KeyCapacity: int64(max(c.o.PerKey, 0)), Rejected: c.rejected,
	}
	for _, n := range c.keys {
		s.KeyUsed = max(s.KeyUsed, int64(n))
	}
	return s
}
