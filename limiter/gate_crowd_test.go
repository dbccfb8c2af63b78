package limiter_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

// crowd is many goroutines at one Gate, and what they saw.
type crowd struct {
	*limiter.Gate
	t      *testing.T
	inside atomic.Int64
	each   [4]atomic.Int64

	admitted, refused, abandoned atomic.Int64
}

// visit comes once. A visitor waits, gives up at a random moment, or finds its client
// gone at one.
func (c *crowd) visit(random *rand.Rand, capacity, perKey int64) {
	key := random.IntN(len(c.each))
	ticket, w, err := c.Enter(uint64(key))
	if w != nil {
		ticket, err = c.wait(w, random)
	}
	switch {
	case errors.Is(err, errGone):
		c.abandoned.Add(1)
		return
	case err != nil:
		c.refused.Add(1)
		return
	}
	if n := c.inside.Add(1); n > capacity {
		c.t.Errorf("%d are inside, want at most %d", n, capacity)
	}
	if n := c.each[key].Add(1); n > perKey {
		c.t.Errorf("%d of key %d are inside, want at most %d", n, key, perKey)
	}
	c.admitted.Add(1)
	runtime.Gosched()
	c.each[key].Add(-1)
	c.inside.Add(-1)
	ticket.Leave()
}

func (c *crowd) wait(w *limiter.Waiter, random *rand.Rand) (limiter.Ticket, error) {
	end := make(chan time.Time, 1)
	switch random.IntN(3) {
	case 0:
		return w.Wait(nil, nil, nil)
	case 1:
		go func() { end <- t0 }()
		return w.Wait(end, nil, nil)
	}
	go func() { end <- t0 }()
	return w.Wait(nil, end, func() error { return errGone })
}

// run has visitors come while resize is called over and over, and wants every visit
// to end, and to be counted as it ended.
func (c *crowd) run(capacity, perKey int64, resize func(i int)) {
	c.t.Helper()
	const visitors, visits = 24, 400
	var all sync.WaitGroup
	for i := range uint64(visitors) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(i, 3))
			for range visits {
				c.visit(random, capacity, perKey)
			}
		})
	}
	over := make(chan struct{})
	var resizer sync.WaitGroup
	resizer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
				resize(i)
				runtime.Gosched()
			}
		}
	})
	all.Wait()
	close(over)
	resizer.Wait()

	wantEmpty(c.t, c.Gate)
	s := c.Stats()
	refused, gone := c.refused.Load(), c.abandoned.Load()
	if sum := c.admitted.Load() + refused + gone; sum != visitors*visits {
		c.t.Errorf("%d visits ended, want %d", sum, visitors*visits)
	}
	// A client may be found gone that was displaced at that moment.
	counted := s.Rejected.Total() + s.Abandoned
	if counted != uint64(refused+gone) || s.Abandoned > uint64(gone) {
		c.t.Errorf("counted %+v, %d abandoned, want %d and %d", s.Rejected, s.Abandoned, refused, gone)
	}
	if c.admitted.Load() == 0 || refused == 0 || gone == 0 {
		c.t.Errorf("not everything happened: %d admitted, %d refused, %d gone", c.admitted.Load(), refused, gone)
	}
}

func TestACrowdStaysWithinTheBoundsAndNobodyIsLost(t *testing.T) {
	for name, o := range map[string]limiter.GateOptions{
		"one place":     {Capacity: 1, PerKey: 1, Queue: 4},
		"short queue":   {Capacity: 3, PerKey: 3, Queue: 2},
		"bound by keys": {Capacity: 6, PerKey: 2, Queue: 8},
	} {
		t.Run(name, func(t *testing.T) {
			c := &crowd{Gate: limiter.NewGate(o), t: t}
			c.run(int64(o.Capacity), int64(o.PerKey), func(int) { c.Stats() })
		})
	}
}

func TestACrowdIsNotLostWhileTheGateIsResized(t *testing.T) {
	sizes := []limiter.GateOptions{
		{Capacity: 6, PerKey: 3, Queue: 8}, {Capacity: 1, PerKey: 1, Queue: 2}, {Capacity: 4, PerKey: 3}, {Capacity: 2, PerKey: 2, Queue: 30},
	}
	c := &crowd{Gate: limiter.NewGate(sizes[0]), t: t}
	c.run(6, 3, func(i int) { c.Resize(sizes[i%len(sizes)]) })
}

// However many wait with one key, another key's first waits for at most one of each
// key that was there before it.
func TestACrowdOfOneKeyDelaysAnotherByOneTurn(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 11))
		capacity := 1 + random.IntN(4)
		g := limiter.NewGate(limiter.GateOptions{Capacity: capacity, Queue: 1000})
		admitted := make(chan visitor, 1000)
		var holders []limiter.Ticket
		var waiting sync.WaitGroup
		come := func(key uint64) bool {
			ticket, w, err := g.Enter(key)
			if err != nil {
				t.Fatal(err)
			}
			if w == nil {
				holders = append(holders, ticket)
				return false
			}
			waiting.Go(func() {
				ticket, err := w.Wait(nil, nil, nil)
				if err != nil {
					t.Error(err)
				}
				admitted <- visitor{key, ticket}
			})
			return true
		}
		for range 100 {
			come(0)
		}
		keys := 1 + random.Uint64N(5)
		for key := range keys {
			come(1 + key)
			for range random.IntN(20) {
				come(1 + key)
			}
		}
		// One leaves at a time, so it is seen who is next.
		first := map[uint64]int{}
		for n := 1; len(holders) > 0; n++ {
			holders[0].Leave()
			if holders = holders[1:]; g.Stats().Waiting == 0 && len(holders) < capacity {
				continue
			}
			v := <-admitted
			holders = append(holders, v.ticket)
			if first[v.key] == 0 {
				first[v.key] = n
			}
		}
		waiting.Wait()
		for key := range keys {
			if n := first[1+key]; n == 0 || n > int(key)+2 {
				t.Errorf("seed %d: key %d came in as number %d, want at most %d", seed, 1+key, n, key+2)
			}
		}
	}
}

type visitor struct {
	key    uint64
	ticket limiter.Ticket
}
