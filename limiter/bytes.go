package limiter

import "sync/atomic"

// Bytes is a budget of memory. It counts what its users say, and owns none.
type Bytes struct {
	capacity, used atomic.Int64
	rejected       atomic.Uint64
}

// NewBytes returns a budget of that many bytes, of which none are used.
func NewBytes(capacity int64) *Bytes {
	b := new(Bytes)
	b.capacity.Store(capacity)
	return b
}

// Acquire takes n bytes, which must not be negative, all or none of them. Whoever is
// refused is to do without or to end.
func (b *Bytes) Acquire(n int64) bool {
	for {
		used, capacity := b.used.Load(), b.capacity.Load()
		if capacity > 0 && n > capacity-used {
			b.rejected.Add(1)
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Release gives back n bytes of those acquired.
func (b *Bytes) Release(n int64) {
	if b.used.Add(-n) < 0 {
		panic("BUG: more bytes released than were acquired")
	}
}

// Resize changes the capacity. What is used stays so, above a smaller capacity, too.
func (b *Bytes) Resize(capacity int64) { b.capacity.Store(capacity) }

// Stats returns what the budget holds, in bytes.
func (b *Bytes) Stats() Stats {
	s := Stats{Capacity: max(b.capacity.Load(), 0), Used: b.used.Load()}
	s.Rejected[Full] = b.rejected.Load()
	return s
}
