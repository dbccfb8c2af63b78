package main

import (
	"math"
	"testing"
	"time"
)

func TestBucketsAreContinuousAndFine(t *testing.T) {
	for v := range uint64(1 << 20) {
		i := bucketOf(v)
		if v > 0 && i != bucketOf(v-1) && i != bucketOf(v-1)+1 {
			t.Fatalf("bucket of %d is %d, of %d is %d", v, i, v-1, bucketOf(v-1))
		}
		if off := math.Abs(float64(bucketMiddle(i)) - float64(v)); off > float64(v)/128 {
			t.Fatalf("%d is counted as %d", v, bucketMiddle(i))
		}
	}
}

func TestLargestValueHasABucket(t *testing.T) {
	var h histogram
	h.record(math.MaxInt64)
	h.record(-1)
	if h.total != 2 {
		t.Errorf("total = %d", h.total)
	}
}

func TestQuantile(t *testing.T) {
	var h histogram
	for i := 1; i <= 1000; i++ {
		h.record(time.Duration(i) * time.Microsecond)
	}
	f := func(q float64, want time.Duration) {
		t.Helper()
		got := h.quantile(q)
		if math.Abs(float64(got-want)) > float64(want)/128 {
			t.Errorf("quantile(%v) = %v, want about %v", q, got, want)
		}
	}
	f(0.001, time.Microsecond)
	f(0.5, 500*time.Microsecond)
	f(0.99, 990*time.Microsecond)
	f(0.999, 999*time.Microsecond)
	f(1, 1000*time.Microsecond)

	var empty histogram
	if got := empty.quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h histogram
	if n := testing.AllocsPerRun(100, func() { h.record(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
