package limiter

import (
	"math/bits"
	"time"
)

// bucket is the arithmetic of a token bucket in which a key needs one number only:
// its debt, the time after which it is full again. A token spent is an interval more
// of debt, and time pays by itself.
type bucket struct {
	interval int64 // nanoseconds for one token; 0 is no bound
	most     int64 // debt of an empty bucket, a multiple of interval
}

// mostDebt is the longest that any bucket takes to fill. It leaves room to add to a
// time of this century without overflow.
const mostDebt = int64(1) << 61

func newBucket(o RateOptions) bucket {
	if o.Requests <= 0 || o.Per <= 0 {
		return bucket{}
	}
	n, per := int64(o.Requests), int64(o.Per)
	interval := per / n
	if per%n >= n-per%n { // to the nearest nanosecond
		interval++
	}
	interval = min(max(interval, 1), mostDebt)
	return bucket{interval: interval, most: interval * min(max(int64(o.Burst), 1), mostDebt/interval)}
}

// debt is what a bucket that will be full at full owes at now. It is never more than
// what an empty one owes, even if the clock went back.
func (b bucket) debt(full, now int64) int64 { return min(max(full-now, 0), b.most) }

// spend takes a token of a bucket with that debt, if there is one.
func (b bucket) spend(debt int64) (after int64, v Verdict) {
	if debt > b.most-b.interval {
		retry := time.Duration(debt - (b.most - b.interval))
		return debt, Verdict{Retry: retry, Limit: b.tokens(b.most), Reset: retry}
	}
	debt += b.interval
	return debt, Verdict{
		OK: true, Limit: b.tokens(b.most), Remaining: b.tokens(b.most - debt),
		Reset: time.Duration((debt-1)%b.interval + 1),
	}
}

func (b bucket) tokens(t int64) int { return int(t / b.interval) }

// convert is a debt of old in the measure of b: as many tokens, fractions included,
// and never more than an empty bucket lacks.
func (b bucket) convert(debt int64, old bucket) int64 {
	hi, lo := bits.Mul64(uint64(debt), uint64(b.interval))
	lo, carry := bits.Add64(lo, uint64(old.interval-1), 0) // round up: no token for nothing
	hi += carry
	if hi >= uint64(old.interval) {
		return b.most
	}
	q, _ := bits.Div64(hi, lo, uint64(old.interval))
	return int64(min(q, uint64(b.most)))
}
