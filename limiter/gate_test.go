package limiter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

// house is a Gate in a synctest bubble, with those who came to it by name.
type house struct {
	*limiter.Gate
	t      *testing.T
	guests map[string]*guest
	order  []string // in which they got in
}

type guest struct {
	ticket limiter.Ticket
	err    error
	inside bool
}

func open(t *testing.T, o limiter.GateOptions, f func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{Gate: limiter.NewGate(o), t: t, guests: map[string]*guest{}}
		f(h)
		for len(h.order) > 0 { // so that no waiter is left over
			h.leave(h.order[0])
		}
		wantEmpty(t, h.Gate)
	})
}

// come is somebody's arrival, who waits if need be for as long as within.
func (h *house) come(name string, key uint64, within time.Duration) {
	h.t.Helper()
	g := &guest{}
	h.guests[name] = g
	got := func(t limiter.Ticket, err error) {
		g.ticket, g.err, g.inside = t, err, err == nil
		if g.inside {
			h.order = append(h.order, name)
		}
	}
	ticket, w, err := h.Enter(key)
	if w == nil {
		got(ticket, err)
		return
	}
	go func() { got(w.Wait(time.After(within), nil, nil)) }()
	synctest.Wait()
}

func (h *house) leave(name string) {
	h.t.Helper()
	g := h.guests[name]
	if !g.inside {
		h.t.Fatalf("%s is not inside", name)
	}
	g.inside = false
	h.order = slices.DeleteFunc(h.order, func(n string) bool { return n == name })
	g.ticket.Leave()
	synctest.Wait()
}

func (h *house) wantInside(names ...string) {
	h.t.Helper()
	if !slices.Equal(h.order, names) {
		h.t.Errorf("inside are %v, want %v", h.order, names)
	}
}

func (h *house) wantRefused(name string, want error) {
	h.t.Helper()
	if err := h.guests[name].err; !errors.Is(err, want) {
		h.t.Errorf("%s got %v, want %v", name, err, want)
	}
}

const long = time.Hour

func TestWithoutAQueueAFullGateRefusesAtOnce(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 2}, func(h *house) {
		h.come("a", 1, long)
		h.come("b", 2, long)
		h.come("c", 3, long)
		h.wantInside("a", "b")
		h.wantRefused("c", limiter.Full)
		wantStats(t, h.Stats(), limiter.Stats{Capacity: 2, Used: 2, KeyUsed: 1, Rejected: rejected(limiter.Full, 1)})
		h.leave("a")
		h.come("d", 1, long)
		h.wantInside("b", "d")
	})
}

func TestWhoComesToAFullGateWaitsForAPlace(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, Queue: 2}, func(h *house) {
		for _, name := range []string{"a", "b", "c"} {
			h.come(name, 1, long)
		}
		h.wantInside("a")
		wantStats(t, h.Stats(), limiter.Stats{Capacity: 1, Used: 1, KeyUsed: 1, QueueCapacity: 2, Waiting: 2})
		h.leave("a")
		h.wantInside("b")
		h.leave("b")
		h.wantInside("c")
	})
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, Queue: 1}, func(h *house) {
		for _, name := range []string{"a", "b", "c"} {
			h.come(name, 1, long)
		}
		h.wantRefused("c", limiter.QueueFull)
		if s := h.Stats(); s.Rejected != rejected(limiter.QueueFull, 1) {
			t.Errorf("stats are %+v", s)
		}
	})
}

func TestAWaitThatTakesTooLongEnds(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, Queue: 9}, func(h *house) {
		h.come("a", 1, long)
		h.come("b", 1, time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		h.wantRefused("b", limiter.Timeout)
		if s := h.Stats(); s.Waiting != 0 || s.Rejected != rejected(limiter.Timeout, 1) {
			t.Errorf("stats are %+v", s)
		}
		h.leave("a")
		h.wantInside()
	})
}

func TestOneKeyMayHoldOnlySoMany(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 9, PerKey: 2}, func(h *house) {
		for _, name := range []string{"a", "b", "c"} {
			h.come(name, 1, long)
		}
		h.come("other", 2, long)
		h.wantInside("a", "b", "other")
		h.wantRefused("c", limiter.Caller)
		wantStats(t, h.Stats(), limiter.Stats{
			Capacity: 9, Used: 3, KeyCapacity: 2, KeyUsed: 2, Rejected: rejected(limiter.Caller, 1),
		})
	})
}

func TestAKeyThatHoldsAllItMayDoesNotHoldUpOthers(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 3, PerKey: 2, Queue: 9}, func(h *house) {
		for _, name := range []string{"a1", "a2", "a3", "a4"} {
			h.come(name, 1, time.Minute)
		}
		h.come("b1", 2, long)
		h.wantInside("a1", "a2", "b1")
		h.come("b2", 2, long)
		h.leave("b1")
		h.wantInside("a1", "a2", "b2")
		h.leave("b2") // there is room, but not for key 1
		h.wantInside("a1", "a2")
		h.leave("a1")
		h.wantInside("a2", "a3")
		time.Sleep(time.Minute)
		synctest.Wait()
		h.wantRefused("a4", limiter.Caller)
	})
}

func TestKeysTakeTurns(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, Queue: 200}, func(h *house) {
		for i := range 100 {
			h.come(fmt.Sprint("greedy ", i), 1, long)
		}
		h.come("modest", 2, long)
		h.come("third 1", 3, long)
		h.come("third 2", 3, long)
		for _, next := range []string{"greedy 1", "modest", "third 1", "greedy 2", "third 2", "greedy 3", "greedy 4"} {
			h.leave(h.order[0])
			h.wantInside(next)
		}
	})
}

func TestAFullQueueMakesRoomForAnotherKey(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, Queue: 3}, func(h *house) {
		for _, name := range []string{"in", "g1", "g2", "g3"} {
			h.come(name, 1, long)
		}
		h.come("m1", 2, long)
		h.wantRefused("g3", limiter.QueueFull)
		h.come("m2", 2, long) // two wait with key 1, and so there would with key 2
		h.wantRefused("m2", limiter.QueueFull)
		h.come("g4", 1, long)
		h.wantRefused("g4", limiter.QueueFull)
		if s := h.Stats(); s.Waiting != 3 || s.Rejected != rejected(limiter.QueueFull, 3) {
			t.Errorf("stats are %+v", s)
		}
		for _, next := range []string{"g1", "m1", "g2"} {
			h.leave(h.order[0])
			h.wantInside(next)
		}
	})
}

func TestAKeyThatHoldsAllItMayCannotKeepTheQueueFull(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 2, PerKey: 1, Queue: 2}, func(h *house) {
		for _, name := range []string{"in", "g1", "g2", "g3"} {
			h.come(name, 1, long)
		}
		h.wantRefused("g3", limiter.Caller)
		h.come("m1", 2, long)
		h.come("n1", 3, long)
		h.wantRefused("g2", limiter.QueueFull)
		h.leave("in")
		h.wantInside("m1", "n1")
		h.leave("m1")
		h.wantInside("n1", "g1")
	})
}

func TestAGateMadeLargerAdmitsAtOnce(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, PerKey: 1, Queue: 9}, func(h *house) {
		for _, name := range []string{"a1", "a2", "a3"} {
			h.come(name, 1, long)
		}
		h.come("b1", 2, long)
		h.Resize(limiter.GateOptions{Capacity: 2, PerKey: 1, Queue: 9})
		synctest.Wait()
		h.wantInside("a1", "b1")
		h.Resize(limiter.GateOptions{Capacity: 3, PerKey: 2, Queue: 9})
		synctest.Wait()
		h.wantInside("a1", "b1", "a2")
		h.Resize(limiter.GateOptions{})
		synctest.Wait()
		h.wantInside("a1", "b1", "a2", "a3")
	})
}

func TestAGateMadeSmallerAdmitsNobodyUntilBelow(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 3, Queue: 9}, func(h *house) {
		for _, name := range []string{"a", "b", "c", "d"} {
			h.come(name, 1, long)
		}
		h.Resize(limiter.GateOptions{Capacity: 1, Queue: 9})
		h.leave("a")
		h.leave("b")
		h.wantInside("c")
		h.leave("c")
		h.wantInside("d")
	})
}

func TestAQueueMadeSmallerSendsNobodyAway(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 1, Queue: 9}, func(h *house) {
		for _, name := range []string{"a", "b", "c"} {
			h.come(name, 1, long)
		}
		h.Resize(limiter.GateOptions{Capacity: 1})
		h.come("d", 2, long)
		h.wantRefused("d", limiter.Full)
		h.leave("a")
		h.leave("b")
		h.wantInside("c")
	})
}

func TestAKeysBoundMadeSmallerHoldsItBack(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 2, Queue: 9}, func(h *house) {
		for _, name := range []string{"a1", "a2", "a3"} {
			h.come(name, 1, long)
		}
		h.come("b1", 2, long)
		h.Resize(limiter.GateOptions{Capacity: 2, PerKey: 1, Queue: 9})
		h.leave("a1")
		h.wantInside("a2", "b1")
		h.leave("b1")
		h.wantInside("a2")
		h.leave("a2")
		h.wantInside("a3")
	})
}

func TestATicketIsLeftOnce(t *testing.T) {
	open(t, limiter.GateOptions{Capacity: 2}, func(h *house) {
		h.come("a", 1, long)
		h.come("b", 1, long)
		h.guests["a"].ticket.Leave()
		h.leave("a")
		if s := h.Stats(); s.Used != 1 {
			t.Errorf("stats are %+v", s)
		}
		new(limiter.Ticket).Leave()
	})
}
