package tlsclient

import (
	"testing"
	"time"
)

// clocked is a breaker with a clock that stands still until it is moved.
type clocked struct {
	*testing.T
	breaker
	now time.Time
}

var patient = BreakerOptions{Failures: 3, OpenMin: time.Second, OpenMax: 10 * time.Second}

func newClocked(t *testing.T) *clocked { return &clocked{T: t, now: time.Unix(1e9, 0)} }

// go1 lets one exchange pass, if the breaker does, and settles it.
func (c *clocked) go1(came outcome) bool {
	ok, _ := c.admits(c.now)
	if ok {
		c.settle(c.begin(), came, patient.Failures, &patient, c.now)
	}
	return ok
}

// shut makes it open.
func (c *clocked) shut() *clocked {
	for range patient.Failures {
		c.go1(failed)
	}
	c.expect(Open)
	return c
}

// pass moves the clock to when a probe may pass.
func (c *clocked) wait() *clocked {
	c.now = c.until
	c.expect(HalfOpen)
	return c
}

func (c *clocked) expect(want Breaker) {
	c.Helper()
	if got := c.position(c.now); got != want {
		c.Fatalf("it is %s, want %s", got, want)
	}
}

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	c := newClocked(t)
	for range 2 {
		c.go1(failed)
		c.go1(failed)
		c.go1(unknown) // says nothing
		c.expect(Closed)
		c.go1(answered)
	}
	c.shut()
	if c.go1(answered) {
		t.Error("it lets an exchange pass")
	}
}

func TestBreakerThatIsOffNeverOpens(t *testing.T) {
	c := newClocked(t)
	for range 100 {
		c.settle(c.begin(), failed, 0, &patient, c.now)
	}
	c.expect(Closed)
}

func TestBreakerLetsOneProbePassAtATime(t *testing.T) {
	c := newClocked(t).shut().wait()
	probe := c.begin()
	for range 10 {
		if ok, _ := c.admits(c.now.Add(time.Hour)); ok {
			t.Fatal("another exchange passes beside the probe")
		}
	}
	c.expect(HalfOpen)
	c.settle(probe, answered, patient.Failures, &patient, c.now)
	c.expect(Closed)
}

// Its client may have gone: that is no answer to the question.
func TestProbeThatSaysNothingIsFollowedByAnother(t *testing.T) {
	c := newClocked(t).shut().wait()
	c.go1(unknown)
	c.expect(HalfOpen)
	c.go1(answered)
	c.expect(Closed)
}

func TestBreakerStaysOpenLongerEachTimeItsProbeFails(t *testing.T) {
	c := newClocked(t).shut()
	for _, seconds := range []int{1, 2, 4, 8, 10, 10} {
		base := time.Duration(seconds) * time.Second
		if got := c.until.Sub(c.now); got < base || got > base*3/2 || got > patient.OpenMax {
			t.Errorf("it is open for %v, want %v to %v", got, base, min(base*3/2, patient.OpenMax))
		}
		c.wait().go1(failed)
		c.expect(Open)
	}
	c.wait().go1(answered)
	c.shut()
	if got := c.until.Sub(c.now); got > 3*time.Second/2 {
		t.Errorf("after it was closed it is open for %v, want the least time", got)
	}
}

func TestOutcomeFromBeforeTheBreakerMovedIsLate(t *testing.T) {
	c := newClocked(t)
	early := []pass{c.begin(), c.begin(), c.begin(), c.begin()}
	c.shut()
	until := c.until
	c.settle(early[0], answered, patient.Failures, &patient, c.now)
	c.settle(early[1], failed, patient.Failures, &patient, c.now)
	if c.expect(Open); c.until != until || c.failures != patient.Failures {
		t.Errorf("a late failure counts: %+v", c.breaker)
	}
	c.wait()
	probe := c.begin()
	c.settle(early[2], answered, patient.Failures, &patient, c.now)
	c.expect(HalfOpen) // the probe alone decides
	c.settle(probe, answered, patient.Failures, &patient, c.now)
	c.settle(early[3], failed, patient.Failures, &patient, c.now)
	if c.expect(Closed); c.failures != 0 {
		t.Errorf("a late failure counts: %+v", c.breaker)
	}
}

func TestResetForgetsAProbeToo(t *testing.T) {
	c := newClocked(t).shut().wait()
	probe := c.begin()
	c.reset()
	c.expect(Closed)
	c.settle(probe, failed, 1, &patient, c.now)
	c.expect(Closed)
}

func TestNewCertificateIsTriedAtOnce(t *testing.T) {
	c := newClocked(t).shut()
	c.hasten(c.now)
	c.expect(HalfOpen)
	probe := c.begin()
	c.hasten(c.now)
	if ok, _ := c.admits(c.now); ok {
		t.Error("another exchange passes beside the probe")
	}
	c.settle(probe, answered, patient.Failures, &patient, c.now)
	c.expect(Closed)
}

func TestAProbeThatIsExcusedLetsAnotherPass(t *testing.T) {
	c := newClocked(t).shut().wait()
	slow := c.begin()
	if ok, _ := c.admits(c.now); ok {
		t.Fatal("a second probe may pass")
	}
	slow = c.excuse(slow)
	ok, probe := c.admits(c.now)
	if !ok || !probe {
		t.Fatal("no other probe may pass")
	}
	next := c.begin()
	for _, came := range []outcome{failed, unknown} {
		c.settle(slow, came, patient.Failures, &patient, c.now)
		c.expect(HalfOpen)
		if ok, _ := c.admits(c.now); ok {
			t.Fatal("a third one may pass beside the second")
		}
	}
	c.settle(next, answered, patient.Failures, &patient, c.now)
	c.expect(Closed)
}

// Else a breaker would never close where every client sends its body slowly.
func TestAnswerToAProbeThatWasExcusedClosesTheBreaker(t *testing.T) {
	c := newClocked(t).shut().wait()
	slow := c.excuse(c.begin())
	next := c.begin()
	c.settle(slow, answered, patient.Failures, &patient, c.now)
	c.expect(Closed)
	c.settle(next, failed, 1, &patient, c.now)
	if c.expect(Closed); c.failures != 0 {
		t.Errorf("the second probe counts too: %+v", c.breaker)
	}
}

func TestAnswerToAProbeThatWasExcusedIsLateOnceAnotherFailed(t *testing.T) {
	c := newClocked(t).shut().wait()
	slow := c.excuse(c.begin())
	c.go1(failed)
	c.settle(slow, answered, patient.Failures, &patient, c.now)
	c.expect(Open)
}

// Many that were begun together may fail together, while the endpoint answers others.
func TestFailuresOfBeforeAnAnswerAreNotInARow(t *testing.T) {
	b, now := new(breaker), time.Unix(1000, 0)
	o := &BreakerOptions{OpenMin: time.Second, OpenMax: time.Second}
	var together []pass
	for range 20 {
		together = append(together, b.begin())
	}
	b.settle(b.begin(), answered, 7, o, now)
	for _, p := range together {
		if b.settle(p, failed, 7, o, now) {
			t.Fatal("it opened")
		}
	}
	for i := range 7 {
		if opened := b.settle(b.begin(), failed, 7, o, now); opened != (i == 6) {
			t.Errorf("after failure %d in a row it opened: %v", i+1, opened)
		}
	}
}
