package limiter

import (
	"hash/maphash"
	"sync"
	"time"
)

// RateOptions are the bounds of a Rate: Requests in every Per for each key, of which
// Burst may come at once.
type RateOptions struct {
	Requests int           // 0 is no bound
	Per      time.Duration // the tokens come evenly spread over it, to the nearest nanosecond
	Burst    int           // less than 1 counts as 1
	Keys     int           // how many keys are told apart; less than 1 counts as 1
}

// Verdict is a Rate's answer to one request.
type Verdict struct {
	OK        bool
	Retry     time.Duration // if not OK: when there is a token for it again
	Limit     int           // tokens of a full bucket; 0 is no bound
	Remaining int           // whole tokens left
	Reset     time.Duration // when there is one more than Remaining
}

// Rate bounds how often requests with the same key come, with a token bucket for
// each key. A key costs the same memory however long it is: the table holds keyed
// hashes of 64 bits, and two keys that have the same share a bucket.
//
// The table is bounded. When it is full the key that was not used for the longest
// time goes. If its bucket was not full again, its debt stays behind in a slot that
// it shares with other keys, and a key that enters the table starts with the debt of
// its slot. So a key that was pushed out never comes back to a fresh burst, and
// whoever makes up keys without end gets not much more than the slots, at least twice
// as many as the table's keys, have tokens. The price is paid by new keys: while keys
// in debt are pushed out, one may find less than a full bucket.
type Rate struct {
	seed  maphash.Seed
	epoch time.Time

	mu       sync.Mutex
	o        RateOptions
	bucket   bucket
	keys     map[uint64]*usage
	order    list[usage] // the last used at the back
	left     []int64     // when the slots of evicted keys are full; nil until one was in debt
	rejected Rejected
	evicted  uint64
}

// usage is what one key has used.
type usage struct {
	hash  uint64
	full  int64 // nanoseconds since the epoch
	place node[usage]
}

// NewRate returns a Rate in which no key has spent anything. All times given to it
// must come from the clock of now.
func NewRate(o RateOptions, now time.Time) *Rate {
	return &Rate{seed: maphash.MakeSeed(), epoch: now, o: o, bucket: newBucket(o), keys: make(map[uint64]*usage)}
}

// Take spends a token of key's, if it has one. It keeps no reference to key. A
// request that is not OK costs nothing.
func (r *Rate) Take(key []byte, now time.Time) Verdict {
	hash := maphash.Bytes(r.seed, key)
	t := int64(now.Sub(r.epoch))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bucket.interval == 0 {
		return Verdict{OK: true}
	}
	u := r.use(hash, t)
	debt, v := r.bucket.spend(r.bucket.debt(u.full, t))
	u.full = t + debt
	if !v.OK {
		r.rejected[RateExceeded]++
	}
	return v
}

// Return gives back a token that Take has spent for key, for a request that was turned
// away all the same.
func (r *Rate) Return(key []byte, now time.Time) {
	hash := maphash.Bytes(r.seed, key)
	t := int64(now.Sub(r.epoch))
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.keys[hash]; u != nil && r.bucket.interval > 0 {
		u.full = t + max(r.bucket.debt(u.full, t)-r.bucket.interval, 0)
	}
}

// use returns what is known of a key and makes it the last used.
func (r *Rate) use(hash uint64, t int64) *usage {
	if u := r.keys[hash]; u != nil {
		if u.place.next != nil {
			r.order.remove(&u.place)
			r.order.push(&u.place)
		}
		return u
	}
	var u *usage
	if r.order.n >= max(r.o.Keys, 1) {
		u = r.evict(t)
	} else {
		u = new(usage)
		u.place.of = u
	}
	u.hash, u.full = hash, t
	if r.left != nil {
		u.full = r.left[r.slot(hash)]
	}
	r.keys[hash] = u
	r.order.push(&u.place)
	return u
}

// evict takes the key out of the table that was not used for the longest time.
func (r *Rate) evict(t int64) *usage {
	u := r.order.front.of
	r.order.remove(&u.place)
	delete(r.keys, u.hash)
	r.evicted++
	if u.full > t {
		if r.left == nil {
			r.left = make([]int64, slots(r.o.Keys))
		}
		s := &r.left[r.slot(u.hash)]
		*s = max(*s, u.full)
	}
	return u
}

func (r *Rate) slot(hash uint64) int { return int(hash & uint64(len(r.left)-1)) }

// slots is the power of two from twice the keys on.
func slots(keys int) int {
	n := 2
	for n < 2*keys {
		n *= 2
	}
	return n
}

// Resize changes the bounds. Each key has as many tokens less than a full bucket as
// before, but never less than none, so new room can be used at once and nobody waits
// longer than it takes to fill a bucket. A Rate without bound forgets all keys.
func (r *Rate) Resize(o RateOptions, now time.Time) {
	t := int64(now.Sub(r.epoch))
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.bucket
	r.o, r.bucket = o, newBucket(o)
	if old.interval == 0 || r.bucket.interval == 0 {
		r.order, r.left = list[usage]{}, nil
		clear(r.keys)
		return
	}
	for e := r.order.front; e != nil; e = e.next {
		e.of.full = t + r.bucket.convert(old.debt(e.of.full, t), old)
	}
	for i, full := range r.left {
		r.left[i] = t + r.bucket.convert(old.debt(full, t), old)
	}
	if n := slots(o.Keys); r.left != nil && n != len(r.left) {
		r.left = fold(r.left, n)
	}
	for r.order.n > max(o.Keys, 1) {
		r.evict(t)
	}
}

// fold returns slots as n, both being powers of two: more are copies, fewer hold the
// greatest of those that they replace.
func fold(old []int64, n int) []int64 {
	out := make([]int64, n)
	copy(out, old)
	for i := range max(n, len(old)) {
		out[i&(n-1)] = max(out[i&(n-1)], old[i&(len(old)-1)])
	}
	return out
}

// Stats returns what the Rate holds. It looks at every key.
func (r *Rate) Stats(now time.Time) Stats {
	t := int64(now.Sub(r.epoch))
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Capacity: int64(max(r.o.Keys, 1)), Used: int64(r.order.n), Rejected: r.rejected, Evicted: r.evicted}
	if r.bucket.interval == 0 {
		return s
	}
	var most int64
	for e := r.order.front; e != nil; e = e.next {
		most = max(most, r.bucket.debt(e.of.full, t))
	}
	s.KeyCapacity = int64(r.bucket.tokens(r.bucket.most))
	s.KeyUsed = s.KeyCapacity - int64(r.bucket.tokens(r.bucket.most-most))
	return s
}
