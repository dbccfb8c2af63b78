package tlsclient

import (
	"testing"
	"time"
)

// bench is an upstream without a network, whose exchanges are picked places for.
type bench struct {
	*pool
	now   time.Time
	under []*endpoint // exchanges under way, the oldest first
}

func newBench(n int) *bench {
	u := &Upstream{}
	u.options.Store(&Options{Breaker: BreakerOptions{Failures: 7, OpenMin: time.Second, OpenMax: time.Minute}})
	b := &bench{pool: &pool{upstream: u}, now: time.Unix(1e9, 0)}
	for range n {
		e := &endpoint{}
		u.endpoints = append(u.endpoints, e)
		b.links = append(b.links, &link{pool: b.pool, endpoint: e})
	}
	return b
}

// exchange begins one and ends the oldest above the number that may be under way.
func (b *bench) exchange(most int) *endpoint {
	l := b.pick(&exchange{}, b.now)
	if l == nil {
		return nil
	}
	e := l.endpoint
	e.begin()
	b.under = append(b.under, e)
	if len(b.under) > most {
		b.under[0].pending--
		b.under = b.under[1:]
	}
	return e
}

// fail has e fail so often.
func (b *bench) fail(e *endpoint, times int, unreachable bool) {
	for range times {
		b.upstream.end(e, e.begin(), failed, unreachable, b.now)
	}
}

// Whether there is much under way or nothing, an endpoint that has recovered gets more
// from second to second, and never more than twice its fair share.
func TestFaultRecoveryRampsUpWithoutABurst(t *testing.T) {
	for _, endpoints := range []int{2, 3, 5, 10} {
		for _, most := range []int{0, 8, 64} {
			b := newBench(endpoints)
			back := b.links[1].endpoint
			for range 1000 {
				b.exchange(most)
			}
			b.fail(back, 7, false)
			b.now = back.breaker.until
			b.upstream.end(back, back.begin(), answered, false, b.now)
			const perSecond = 2000
			fair := float64(perSecond) / float64(endpoints)
			for second := range 12 {
				got := 0.0
				for range perSecond {
					b.now = b.now.Add(time.Second / perSecond)
					if b.exchange(most) == back {
						got++
					}
				}
				if got > 2*fair {
					t.Errorf("%d endpoints, %d under way: %v exchanges in second %d, fair are %v", endpoints, most, got, second, fair)
				}
				if second == 0 && got > fair/2 || second == 11 && got < 0.8*fair {
					t.Errorf("%d endpoints, %d under way: %v exchanges in second %d, fair are %v", endpoints, most, got, second, fair)
				}
			}
		}
	}
}

func TestEndpointsShareEvenly(t *testing.T) {
	b := newBench(5)
	b.links[2].endpoint.drained = true
	got := map[*endpoint]int{}
	for range 4000 {
		got[b.exchange(0)]++
	}
	for i, l := range b.links {
		if n := got[l.endpoint]; (n == 0) != (i == 2) || i != 2 && (n < 800 || n > 1200) {
			t.Errorf("endpoint %d has %d of 4000", i, n)
		}
	}
}

func TestSlowEndpointGetsLess(t *testing.T) {
	b := newBench(4)
	b.links[0].endpoint.pending = 50
	for range 1000 {
		if b.exchange(8) == b.links[0].endpoint {
			t.Fatal("the endpoint with the most exchanges got another one")
		}
	}
}

func TestEndpointThatCannotBeReachedIsLeftAloneAtOnceIfThereIsAnother(t *testing.T) {
	b := newBench(2)
	b.fail(b.links[0].endpoint, 1, true)
	for range 10 {
		if b.exchange(0) != b.links[1].endpoint {
			t.Fatal("it was picked")
		}
	}
}

func TestLastEndpointThatIsLeftHasMorePatience(t *testing.T) {
	b := newBench(2)
	first, last := b.links[0].endpoint, b.links[1].endpoint
	b.fail(first, 7, false)
	if !first.breaker.open {
		t.Fatal("the first one is still used")
	}
	b.fail(last, 20, true)
	if last.breaker.open {
		t.Fatal("the last one was given up after 20 failures")
	}
	b.fail(last, 1, true)
	if !last.breaker.open || b.exchange(0) != nil {
		t.Fatal("the last one is used for ever")
	}
	e := asError(b.upstream.barred(b.now))
	if e.Class != BreakerOpen || e.Fault != FaultUpstream || e.RetryAfter <= 0 || e.RetryAfter > time.Second*3/2 {
		t.Errorf("the answer is %+v", e)
	}
}

func TestOnlyEndpointHasNoMorePatienceThanItsBreaker(t *testing.T) {
	b := newBench(1)
	b.fail(b.links[0].endpoint, 6, true)
	if b.exchange(0) == nil {
		t.Fatal("it was given up after 6 failures")
	}
	b.fail(b.links[0].endpoint, 1, true)
	if b.exchange(0) != nil {
		t.Fatal("it is used after 7 failures")
	}
}

// Whether it has recovered, nobody would find out otherwise.
func TestEndpointWhoseTimeHasComeGetsTheNextExchange(t *testing.T) {
	b := newBench(3)
	e := b.links[1].endpoint
	b.fail(e, 7, false)
	b.now = e.breaker.until
	if b.exchange(100) != e {
		t.Fatal("the exchange went to another")
	}
	for range 10 {
		if b.exchange(100) == e {
			t.Fatal("another one followed")
		}
	}
}

// Of an endpoint that fails now, a download says nothing that has lived off what came before.
func TestEndOfALongDownloadDoesNotOutweighWhatHasFailedSince(t *testing.T) {
	for name, c := range map[string]struct {
		headed, failed time.Duration // so long ago
		want           int
	}{
		"the head came before": {time.Minute, time.Second, 6},
		"the head came after":  {time.Minute, time.Hour, 0},
		"all was just now":     {time.Millisecond, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(1)
			now := time.Now()
			b.now = now.Add(-c.failed)
			l := b.links[0]
			b.fail(l.endpoint, 6, false)
			b.upstream.release(&conn{link: l, expires: now.Add(time.Hour), pass: l.endpoint.begin(), came: answered, headed: now.Add(-c.headed)}, true)
			if n := l.endpoint.breaker.failures; n != c.want {
				t.Errorf("%d failures in a row, want %d", n, c.want)
			}
		})
	}
}

func TestPickingDoesNotAllocate(t *testing.T) {
	b := newBench(4)
	b.links[0].endpoint.breaker.recovered = b.now
	ex := &exchange{tried: []*endpoint{b.links[1].endpoint}}
	if n := testing.AllocsPerRun(100, func() { b.pick(ex, b.now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNoBreakerOpensIfThatIsTurnedOff(t *testing.T) {
	b := newBench(2)
	b.upstream.options.Store(&Options{})
	for _, unreachable := range []bool{true, false} {
		if n := b.upstream.patience(b.upstream.endpoints[0], unreachable, b.now); n != 0 {
			t.Errorf("unreachable %t: it opens after %d failures", unreachable, n)
		}
	}
}
