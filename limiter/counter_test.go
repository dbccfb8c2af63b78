package limiter_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

// seat enters c and claims key.
func seat(t *testing.T, c *limiter.Counter, key uint64) (limiter.Seat, error) {
	t.Helper()
	s, err := c.Enter()
	if err != nil {
		return s, err
	}
	if err := s.Claim(key); err != nil {
		s.Leave()
		return s, err
	}
	return s, nil
}

func mustSeat(t *testing.T, c *limiter.Counter, key uint64) limiter.Seat {
	t.Helper()
	s, err := seat(t, c, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCounterBoundsTheTotal(t *testing.T) {
	c := limiter.NewCounter(limiter.CounterOptions{Capacity: 2})
	a, _ := mustSeat(t, c, 1), mustSeat(t, c, 2)
	if _, err := c.Enter(); !errors.Is(err, limiter.Full) {
		t.Errorf("got %v, want full", err)
	}
	a.Leave()
	mustSeat(t, c, 1)
	wantStats(t, c.Stats(), limiter.Stats{Capacity: 2, Used: 2, KeyUsed: 1, Rejected: rejected(limiter.Full, 1)})
}

func TestCounterBoundsEachKey(t *testing.T) {
	c := limiter.NewCounter(limiter.CounterOptions{Capacity: 9, PerKey: 2})
	a, _ := mustSeat(t, c, 1), mustSeat(t, c, 1)
	if _, err := seat(t, c, 1); !errors.Is(err, limiter.Caller) {
		t.Errorf("got %v, want caller", err)
	}
	mustSeat(t, c, 2)
	wantStats(t, c.Stats(), limiter.Stats{Capacity: 9, Used: 3, KeyCapacity: 2, KeyUsed: 2, Rejected: rejected(limiter.Caller, 1)})
	a.Leave()
	mustSeat(t, c, 1)
}

func TestASeatKeepsItsKey(t *testing.T) {
	c := limiter.NewCounter(limiter.CounterOptions{PerKey: 1})
	s := mustSeat(t, c, 1)
	if err := s.Claim(2); err != nil {
		t.Error(err)
	}
	mustSeat(t, c, 2)
}

func TestASeatIsLeftOnce(t *testing.T) {
	c := limiter.NewCounter(limiter.CounterOptions{Capacity: 9})
	s, _ := mustSeat(t, c, 1), mustSeat(t, c, 1)
	s.Leave()
	s.Leave()
	if err := s.Claim(1); err != nil {
		t.Error(err)
	}
	wantStats(t, c.Stats(), limiter.Stats{Capacity: 9, Used: 1, KeyUsed: 1})
}

func TestACounterMadeSmallerAdmitsNobodyUntilBelow(t *testing.T) {
	c := limiter.NewCounter(limiter.CounterOptions{Capacity: 3, PerKey: 3})
	a, b := mustSeat(t, c, 1), mustSeat(t, c, 1)
	c.Resize(limiter.CounterOptions{Capacity: 3, PerKey: 1})
	a.Leave()
	if _, err := seat(t, c, 1); !errors.Is(err, limiter.Caller) {
		t.Errorf("got %v, want caller", err)
	}
	b.Leave()
	mustSeat(t, c, 1)
	c.Resize(limiter.CounterOptions{Capacity: 1})
	if _, err := seat(t, c, 2); !errors.Is(err, limiter.Full) {
		t.Errorf("got %v, want full", err)
	}
}

func TestConcurrentSeatsStayWithinTheBounds(t *testing.T) {
	const capacity, perKey = 6, 3
	c := limiter.NewCounter(limiter.CounterOptions{Capacity: capacity, PerKey: perKey})
	var total atomic.Int64
	var each [4]atomic.Int64
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			for range 1000 {
				s, err := seat(t, c, uint64(i%4))
				if err != nil {
					continue
				}
				if n := total.Add(1); n > capacity {
					t.Errorf("%d in total", n)
				}
				if n := each[i%4].Add(1); n > perKey {
					t.Errorf("%d of key %d", n, i%4)
				}
				each[i%4].Add(-1)
				total.Add(-1)
				s.Leave()
			}
		})
	}
	all.Wait()
	if s := c.Stats(); s.Used != 0 || s.KeyUsed != 0 || c.Keys() != 0 {
		t.Errorf("seats leaked, %d keys: %+v", c.Keys(), s)
	}
}
