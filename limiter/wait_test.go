package limiter_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

var errGone = errors.New("client gone")

// fullGate returns a gate with one place, who holds it, and who waits for it.
func fullGate(t *testing.T) (*limiter.Gate, limiter.Ticket, *limiter.Waiter) {
	t.Helper()
	g := limiter.NewGate(limiter.GateOptions{Capacity: 1, Queue: 1})
	holder, _, err := g.Enter(1)
	if err != nil {
		t.Fatal(err)
	}
	_, w, err := g.Enter(2)
	if err != nil || w == nil {
		t.Fatalf("got waiter %v, error %v", w, err)
	}
	return g, holder, w
}

func wantEmpty(t *testing.T, g *limiter.Gate) {
	t.Helper()
	if s := g.Stats(); s.Used != 0 || s.Waiting != 0 || s.KeyUsed != 0 {
		t.Errorf("places leaked: %+v", s)
	}
	if n := g.Keys(); n != 0 {
		t.Errorf("%d keys are remembered of which none is inside or waits", n)
	}
}

// fired is a channel of which something can be received now.
func fired() <-chan time.Time {
	c := make(chan time.Time, 1)
	c <- t0
	return c
}

func TestAWaitEndsWhenTheClientIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, holder, w := fullGate(t)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		begun, asked := time.Now(), 0
		_, err := w.Wait(time.After(time.Hour), tick.C, func() error {
			if asked++; asked == 3 {
				return errGone
			}
			return nil
		})
		if d := time.Since(begun); !errors.Is(err, errGone) || d != 1500*time.Millisecond {
			t.Errorf("got %v after %v", err, d)
		}
		s := g.Stats()
		if s.Abandoned != 1 || s.Rejected.Total() != 0 {
			t.Errorf("stats are %+v", s)
		}
		holder.Leave()
		wantEmpty(t, g)
	})
}

func TestWhoIsAdmittedAtTheLimitIsIn(t *testing.T) {
	for range 50 { // which of both is seen first is a matter of luck
		g, holder, w := fullGate(t)
		holder.Leave()
		ticket, err := w.Wait(fired(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s := g.Stats(); s.Used != 1 || s.Rejected.Total() != 0 {
			t.Fatalf("stats are %+v", s)
		}
		ticket.Leave()
		wantEmpty(t, g)
	}
}

func TestAPlaceGivenToAClientThatIsGoneIsPassedOn(t *testing.T) {
	for range 50 {
		g, holder, w := fullGate(t)
		ticket, err := w.Wait(nil, fired(), func() error {
			holder.Leave() // admits w
			return errGone
		})
		if !errors.Is(err, errGone) {
			t.Fatalf("got %v", err)
		}
		ticket.Leave()
		wantEmpty(t, g)
		if s := g.Stats(); s.Abandoned != 1 {
			t.Fatalf("stats are %+v", s)
		}
	}
}

func TestWhoWaitsBehindAClientThatIsGoneGetsItsPlace(t *testing.T) {
	g, holder, w := fullGate(t)
	g.Resize(limiter.GateOptions{Capacity: 1, Queue: 2})
	_, next, _ := g.Enter(2)
	_, _ = w.Wait(nil, fired(), func() error {
		holder.Leave()
		return errGone
	})
	ticket, err := next.Wait(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ticket.Leave()
	wantEmpty(t, g)
}

func TestADisplacedWaiterThatIsGoneIsCountedOnce(t *testing.T) {
	g := limiter.NewGate(limiter.GateOptions{Capacity: 1, Queue: 2})
	holder, _, _ := g.Enter(1)
	_, first, _ := g.Enter(1)
	_, second, _ := g.Enter(1)
	var other *limiter.Waiter
	if _, err := second.Wait(nil, fired(), func() error {
		_, other, _ = g.Enter(2)
		return errGone
	}); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	if s := g.Stats(); s.Abandoned != 0 || s.Rejected != rejected(limiter.QueueFull, 1) {
		t.Errorf("stats are %+v", s)
	}
	holder.Leave()
	for _, w := range []*limiter.Waiter{first, other} {
		ticket, err := w.Wait(nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Leave()
	}
	wantEmpty(t, g)
}
