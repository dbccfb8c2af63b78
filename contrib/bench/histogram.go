package main

import (
	"math/bits"
	"time"
)

// subBits fixes the resolution: 128 buckets for each power of two, an error below 1 %.
const subBits = 7

// histogram counts durations in log-linear buckets. Recording allocates nothing.
// The zero value is ready to use.
type histogram struct {
	counts [64 << subBits]uint64
	total  uint64
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

// quantile returns the duration below or at which the share q of all recorded ones lie.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return time.Duration(bucketMiddle(i))
		}
	}
	return time.Duration(bucketMiddle(len(h.counts) - 1))
}

// bucketOf maps values below 2^subBits to themselves and larger ones to the power of two
// they lie in, and the next subBits bits below the leading one.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-1-subBits, 0)
	return shift<<subBits + int(v>>shift)
}

func bucketMiddle(i int) uint64 {
	shift := max(i>>subBits-1, 0)
	low := uint64(i-shift<<subBits) << shift
	return low + uint64(1)<<shift/2
}
