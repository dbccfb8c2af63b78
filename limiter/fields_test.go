package limiter_test

import (
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

func TestPolicyFieldTellsTheRate(t *testing.T) {
	for want, o := range map[string]limiter.RateOptions{
		`"billing";q=200;w=1`:  {Requests: 200, Per: time.Second, Burst: 50},
		`"billing";q=10;w=60`:  {Requests: 10, Per: time.Minute, Burst: 1},
		`"billing";q=100;w=1`:  {Requests: 10, Per: 100 * time.Millisecond},
		`"billing";q=4;w=2`:    {Requests: 3, Per: 1500 * time.Millisecond},
		`"billing";q=1;w=3600`: {Requests: 1, Per: time.Hour, Burst: 9},
		``:                     {Burst: 9},
	} {
		if got := string(o.AppendPolicy(nil, "billing")); got != want {
			t.Errorf("%+v: got %s, want %s", o, got, want)
		}
	}
}

func TestLimitFieldTellsWhatIsLeftAndWholeSecondsUntilThereIsMore(t *testing.T) {
	for want, v := range map[string]limiter.Verdict{
		`a, "billing";r=49;t=1`: {OK: true, Limit: 50, Remaining: 49, Reset: 5 * time.Millisecond},
		`a, "billing";r=0;t=3`:  {Limit: 50, Reset: 2*time.Second + 1},
		`a, "billing";r=0;t=2`:  {Limit: 50, Reset: 2 * time.Second},
		`a, `:                   {OK: true},
	} {
		if got := string(v.AppendLimit([]byte("a, "), "billing")); got != want {
			t.Errorf("%+v: got %s, want %s", v, got, want)
		}
	}
}

func TestRetryAfterIsNeverTooEarly(t *testing.T) {
	for retry, want := range map[time.Duration]int64{
		1: 1, time.Second: 1, time.Second + 1: 2, 90 * time.Second: 90,
	} {
		if got := (limiter.Verdict{Retry: retry}).RetryAfter(); got != want {
			t.Errorf("%v: got %d s, want %d s", retry, got, want)
		}
	}
}

func TestPolicyNamesAreStructuredStrings(t *testing.T) {
	v := limiter.Verdict{Limit: 1, Reset: 1}
	if got, want := string(v.AppendLimit(nil, "a\"b\\c\nd\u00fce\xff")), `"a\"b\\c?d?e?";r=0;t=1`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
