package tlsclient

import (
	"testing"
	"time"
)

func TestBudgetFollowsTheLastTenSeconds(t *testing.T) {
	var b budget
	o := RetryOptions{Percent: 20, Min: 3}
	now := time.Unix(1e9, 0)
	take := func(want int) {
		t.Helper()
		got := 0
		for b.withdraw(&o, now) {
			got++
		}
		if got != want {
			t.Errorf("%d retries, want %d", got, want)
		}
	}
	take(3)
	for range 100 {
		b.request(now)
	}
	take(20)
	now = now.Add(9 * time.Second)
	take(0)
	now = now.Add(time.Second)
	take(3)
	now = now.Add(time.Hour)
	take(3)
	o = RetryOptions{}
	b.request(now)
	take(0)
}

// Whoever has waited long in a queue began in another second that has the same place.
func TestAnOldRequestDoesNotEraseTheBudget(t *testing.T) {
	var b budget
	o := RetryOptions{Percent: 20, Min: 3}
	now := time.Unix(1e9, 0)
	for b.withdraw(&o, now) {
	}
	b.request(now.Add(-budgetTime * time.Second))
	if b.withdraw(&o, now) {
		t.Error("the retries of this second are forgotten")
	}
}
