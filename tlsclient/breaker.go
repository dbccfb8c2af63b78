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
	trips     int       // times it opened in a row
	recovered time.Time // when a probe closed it; zero: long ago, or never

	opened, probes uint64
}

// pass lets one exchange go to an endpoint. What comes of it counts only if the breaker
// has neither opened nor closed meanwhile.
type pass struct {
	turn  uint64
	probe bool
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
	return pass{turn: b.turn, probe: b.open}
}

// excuse lets another exchange be the probe. What comes of the one before does not count
// any more.
func (b *breaker) excuse(p pass) {
	if p.probe && p.turn == b.turn {
		b.probing = false
		b.turn++
	}
}

// settle counts what came of an exchange. With patience above 0 so many failures in a row
// open the breaker. It reports whether it has opened.
func (b *breaker) settle(p pass, came outcome, patience int, o *BreakerOptions, now time.Time) bool {
	if p.turn != b.turn {
		return false // it is late
	}
	b.probing = false
	switch came {
	case answered:
		b.failures = 0
		if b.open {
			b.close()
			b.recovered = now
		}
	case failed:
		b.failures++
		if b.open || patience > 0 && b.failures >= patience {
			b.trip(o, now)
			return true
		}
	}
	return false
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
