package tlsclient

import (
	"math/rand/v2"
	"time"
)

// BreakerOptions say how long an endpoint is left alone that fails again and again.
type BreakerOptions struct {
	Failures int           // in a row that open an endpoint's breaker; 0: it never opens for them
	OpenMin  time.Duration // the first time; doubled each time its probe fails, and up to half more at random
	OpenMax  time.Duration // the most it becomes
}

// Breaker is where an endpoint's breaker stands.
type Breaker string

// The positions of a breaker.
const (
	Closed   Breaker = "closed"    // exchanges go to the endpoint
	Open     Breaker = "open"      // none does
	HalfOpen Breaker = "half_open" // one does, as a probe, or the next one will
)

// outcome is what an exchange has shown of its endpoint.
type outcome uint8

const (
	unknown  outcome = iota // nothing: it ended for reasons of its own
	answered                // it is alive
	failed                  // an upstream's fault
)

// breaker keeps exchanges away from an endpoint that fails. The upstream's mutex guards
// it, and the time is handed in.
type breaker struct {
	open      bool
	turn      uint64    // counts the times it opened, closed or was reset
	until     time.Time // when open: when it lets a probe pass
	probing   bool      // when open: the probe is under way
	failures  int       // in a row
	failed    time.Time // when the last of them was counted
	answers   uint64
	trips     int       // times it opened in a row
	recovered time.Time // when a probe closed it; zero: long ago, or never

	opened, probes uint64
}

// pass lets one exchange go to an endpoint. What comes of it counts only if the breaker
// has neither opened nor closed meanwhile.
type pass struct {
	turn    uint64
	answers uint64 // before it
	probe   bool
	excused bool // it was the probe
}

// admits reports whether an exchange may begin, and whether it is to be the probe.
func (b *breaker) admits(now time.Time) (ok, probe bool) {
	if !b.open {
		return true, false
	}
	ok = !b.probing && !now.Before(b.until)
	return ok, ok
}

// begin lets an exchange pass that admits has found to be welcome.
func (b *breaker) begin() pass {
	if b.open {
		b.probing = true
		b.probes++
	}
	return pass{turn: b.turn, answers: b.answers, probe: b.open}
}

// excuse lets another exchange be the probe beside the one with p, which has the returned
// pass from then on: of what comes of it, only an answer counts, if it comes first.
func (b *breaker) excuse(p pass) pass {
	if p.probe && p.turn == b.turn {
		b.probing = false
	}
	return pass{turn: p.turn, excused: true}
}

// settle counts what came of an exchange. With patience above 0 so many failures in a row
// open the breaker. It reports whether it has opened.
func (b *breaker) settle(p pass, came outcome, patience int, o *BreakerOptions, now time.Time) bool {
	if p.turn != b.turn || p.excused && came != answered {
		return false // it is late
	}
	b.probing = false
	switch came {
	case answered:
		b.answered()
		if b.open {
			b.close()
			b.recovered = now
		}
	case failed:
		if !b.open && p.answers != b.answers {
			return false // others that began together with it, or after, were answered: it is not in a row
		}
		b.failures++
		b.failed = now
		if b.open || patience > 0 && b.failures >= patience {
			b.trip(o, now)
			return true
		}
	}
	return false
}

func (b *breaker) answered() {
	b.failures = 0
	b.answers++
}

func (b *breaker) trip(o *BreakerOptions, now time.Time) {
	span := o.OpenMin
	for range b.trips {
		if span = min(2*span, o.OpenMax); span == o.OpenMax {
			break
		}
	}
	span += time.Duration(rand.Int64N(int64(span)/2 + 1)) //nolint:gosec // it keeps no secret
	b.open, b.recovered, b.until = true, time.Time{}, now.Add(min(span, o.OpenMax))
	b.trips++
	b.turn++
	b.opened++
}

func (b *breaker) close() {
	b.open, b.trips = false, 0
	b.turn++
}

// reset forgets everything but the counters.
func (b *breaker) reset() {
	*b = breaker{turn: b.turn + 1, opened: b.opened, probes: b.probes}
}

// hasten lets the next exchange be the probe, unless there is one already.
func (b *breaker) hasten(now time.Time) {
	if b.open && !b.probing {
		b.until, b.trips = now, 0
	}
}

func (b *breaker) position(now time.Time) Breaker {
	switch {
	case !b.open:
		return Closed
	case b.probing || !now.Before(b.until):
		return HalfOpen
	}
	return Open
}

// rampTime is how long an endpoint takes to get its full share after its breaker closed.
const rampTime = 10 * time.Second

// share is the part of its full share that an endpoint may have, above 0 and at most 1.
func (b *breaker) share(now time.Time) float64 {
	if b.recovered.IsZero() {
		return 1
	}
	age := now.Sub(b.recovered)
	if age >= rampTime {
		b.recovered = time.Time{}
		return 1
	}
	return max(0.1, age.Seconds()/rampTime.Seconds())
}
