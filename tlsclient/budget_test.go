package tlsclient

import (
	"testing"
	"time"
)

func TestBudgetFollowsTheLastTenSeconds(t *testing.T) {
	var b budget
	o := RetryOptions{Percent: 20, Min: 3}
	at := int64(0)
	take := func(want int) {
		t.Helper()
		got := 0
		for b.withdraw(&o, at) {
			got++
		}
		if got != want {
			t.Errorf("%d retries, want %d", got, want)
		}
	}
	take(3)
	for range 100 {
		b.request(at)
	}
	take(20)
	at += 9
	take(0)
	at++
	take(3)
	at += 3600
	take(3)
	o = RetryOptions{}
	b.request(at)
	take(0)
}

// Whoever has waited long in a queue began in another second that has the same place.
func TestAnOldRequestDoesNotEraseTheBudget(t *testing.T) {
	var b budget
	o := RetryOptions{Percent: 20, Min: 3}
	const at = 1000
	for b.withdraw(&o, at) {
	}
	b.request(at - budgetTime)
	if b.withdraw(&o, at) {
		t.Error("the retries of this second are forgotten")
	}
}

func TestRetryThatIsNotMadeCostsNothing(t *testing.T) {
	var b budget
	o := RetryOptions{Min: 1}
	const at = 1000
	b.withdraw(&o, at)
	b.deposit(at)
	if !b.withdraw(&o, at+1) {
		t.Error("it was counted")
	}
	b.deposit(at + 1 - budgetTime) // nobody remembers that one
	if b.withdraw(&o, at+1) {
		t.Error("another one was given back")
	}
}

// The time of day may be set back, by hours.
func TestBudgetCountsTheSecondsOfItsUpstream(t *testing.T) {
	u := Upstream{begun: time.Now()}
	for _, seconds := range []int64{0, 1, 3600} {
		if got := u.second(u.begun.Add(time.Duration(seconds)*time.Second + time.Millisecond)); got != seconds {
			t.Errorf("second %d is %d", seconds, got)
		}
	}
}
