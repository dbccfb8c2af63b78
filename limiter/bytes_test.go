package limiter_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

func TestBytesAreTakenAllOrNone(t *testing.T) {
	b := limiter.NewBytes(100)
	if !b.Acquire(60) || b.Acquire(41) || !b.Acquire(40) || b.Acquire(1) {
		t.Error("60 and 40 fit into 100, and nothing more")
	}
	wantStats(t, b.Stats(), limiter.Stats{Capacity: 100, Used: 100, Rejected: rejected(limiter.Full, 2)})
	b.Release(60)
	if !b.Acquire(60) {
		t.Error("what was released cannot be acquired")
	}
}

func TestBytesMadeSmallerAdmitNothingUntilBelow(t *testing.T) {
	b := limiter.NewBytes(100)
	b.Acquire(80)
	b.Resize(50)
	if b.Acquire(1) {
		t.Error("a byte was acquired with 80 of 50 used")
	}
	b.Release(40)
	if !b.Acquire(10) || b.Acquire(1) {
		t.Error("with 40 of 50 used there are 10 left")
	}
	b.Resize(0)
	if !b.Acquire(1 << 40) {
		t.Error("no capacity is no bound")
	}
}

func TestReleasingMoreThanWasAcquiredIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	limiter.NewBytes(10).Release(1)
}

func TestConcurrentBytesStayWithinTheCapacity(t *testing.T) {
	const capacity = 1000
	b := limiter.NewBytes(capacity)
	var held, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range int64(5000) {
				n := n%300 + int64(i)
				if !b.Acquire(n) {
					refused.Add(1)
					continue
				}
				if now := held.Add(n); now > capacity {
					t.Errorf("%d bytes are held, want at most %d", now, capacity)
				}
				held.Add(-n)
				b.Release(n)
			}
		})
	}
	all.Wait()
	wantStats(t, b.Stats(), limiter.Stats{Capacity: capacity, Rejected: rejected(limiter.Full, uint64(refused.Load()))})
}
