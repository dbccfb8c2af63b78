package limiter_test

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

// model is a token bucket as the books have it: for each key tokens and when they
// were counted, in fractions, with no bound on keys.
type model struct {
	o    limiter.RateOptions
	keys map[string]*account
}

type account struct {
	tokens *big.Rat
	at     time.Time
}

// per is the time from one token to the next.
func (m *model) per() int64 {
	n, per := int64(m.o.Requests), int64(m.o.Per)
	return max(new(big.Int).Div(big.NewInt(2*per+n), big.NewInt(2*n)).Int64(), 1)
}

func (m *model) account(key string, now time.Time) *account {
	burst := new(big.Rat).SetInt64(int64(m.o.Burst))
	a := m.keys[key]
	if a == nil {
		a = &account{tokens: burst, at: now}
		m.keys[key] = a
	}
	a.tokens = new(big.Rat).Add(a.tokens, big.NewRat(int64(now.Sub(a.at)), m.per()))
	if a.tokens.Cmp(burst) > 0 {
		a.tokens = burst
	}
	a.at = now
	return a
}

func (m *model) take(key string, now time.Time) limiter.Verdict {
	a := m.account(key, now)
	one := big.NewRat(1, 1)
	v := limiter.Verdict{Limit: m.o.Burst}
	if a.tokens.Cmp(one) >= 0 {
		v.OK = true
		a.tokens = new(big.Rat).Sub(a.tokens, one)
	}
	whole := new(big.Int).Div(a.tokens.Num(), a.tokens.Denom())
	v.Remaining = int(whole.Int64())
	missing := new(big.Rat).Sub(new(big.Rat).SetInt(whole.Add(whole, big.NewInt(1))), a.tokens)
	v.Reset = time.Duration(ceil(missing.Mul(missing, new(big.Rat).SetInt64(m.per()))))
	if !v.OK {
		v.Retry = v.Reset
	}
	return v
}

// resize keeps what is spent, rounded up to the time of a nanosecond.
func (m *model) resize(o limiter.RateOptions, now time.Time) {
	spent := map[string]*big.Rat{}
	for key := range m.keys {
		spent[key] = new(big.Rat).Sub(new(big.Rat).SetInt64(int64(m.o.Burst)), m.account(key, now).tokens)
	}
	m.o = o
	for key, s := range spent {
		s.Mul(s, new(big.Rat).SetInt64(m.per()))
		s = big.NewRat(ceil(s), m.per())
		left := s.Sub(new(big.Rat).SetInt64(int64(o.Burst)), s)
		if left.Sign() < 0 {
			left.SetInt64(0)
		}
		m.keys[key].tokens = left
	}
}

func ceil(r *big.Rat) int64 {
	n := new(big.Int).Add(r.Num(), r.Denom())
	return n.Sub(n, big.NewInt(1)).Div(n, r.Denom()).Int64()
}

// FuzzRate makes a history out of bytes, three for each step, and wants the Rate to
// say what the model says.
func FuzzRate(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		history := make([]byte, 1500)
		for i := range history {
			history[i] = byte(random.Uint32())
		}
		f.Add(history)
	}
	pers := []time.Duration{time.Nanosecond, time.Millisecond, time.Second, time.Minute, 24 * time.Hour}
	f.Fuzz(func(t *testing.T, history []byte) {
		const keys = 8
		o := limiter.RateOptions{Requests: 10, Per: time.Second, Burst: 5, Keys: keys}
		now := t0
		m, r := model{o: o, keys: map[string]*account{}}, limiter.NewRate(o, now)
		for step := 0; len(history) >= 3; step++ {
			what, a, b := history[0], int(history[1]), int(history[2])
			history = history[3:]
			switch {
			case what < 8:
				o = limiter.RateOptions{Requests: 1 + a, Per: pers[b%len(pers)], Burst: 1 + b/8, Keys: keys + a%3}
				m.resize(o, now)
				r.Resize(o, now)
			case what < 100:
				// About as long as tokens take, with some nanoseconds to fall between.
				now = now.Add(time.Duration(m.per())*time.Duration(a)/16 + time.Duration(b))
			default:
				key := string(rune('a' + a%keys))
				if got, want := r.Take([]byte(key), now), m.take(key, now); got != want {
					t.Fatalf("step %d, %+v, key %s at %v: got %+v, want %+v", step, o, key, now.Sub(t0), got, want)
				}
			}
		}
	})
}

// However often keys are pushed out of a small table, none gets more than it would
// get from a bucket that is never forgotten.
func TestASmallTableIsNeverLaxerThanALargeOne(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		o := limiter.RateOptions{Requests: 10, Per: time.Second, Burst: 4, Keys: 1 + random.IntN(6)}
		r := limiter.NewRate(o, t0)
		now := t0
		// In any stretch of time a key may have its burst and what the time brings. The
		// worst stretch so far is followed as one number for each key.
		worst := map[byte]float64{}
		last := map[byte]time.Time{}
		for range 5000 {
			now = now.Add(time.Duration(random.IntN(int(20 * time.Millisecond))))
			if random.IntN(500) == 0 {
				o.Keys = 1 + random.IntN(6)
				r.Resize(o, now)
			}
			key := byte(random.IntN(12))
			if !r.Take([]byte{key}, now).OK {
				continue
			}
			worst[key] = max(worst[key]-now.Sub(last[key]).Seconds()*10, 0) + 1
			last[key] = now
			if worst[key] > float64(o.Burst)+1e-6 {
				t.Fatalf("seed %d: key %d is %.3f tokens ahead with a burst of %d", seed, key, worst[key], o.Burst)
			}
		}
		if r.Stats(now).Evicted == 0 {
			t.Errorf("seed %d: nothing was evicted", seed)
		}
	}
}
