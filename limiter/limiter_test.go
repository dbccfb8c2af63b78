package limiter_test

import (
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// t0 is when tests begin that bring their own clock.
var t0 = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// rejected counts by reason.
func rejected(why limiter.Rejection, n uint64) limiter.Rejected {
	var r limiter.Rejected
	r[why] = n
	return r
}

func wantStats(t *testing.T, got, want limiter.Stats) {
	t.Helper()
	if got != want {
		t.Errorf("stats\n got %+v\nwant %+v", got, want)
	}
}

func TestRejectionsAreWordsForLabels(t *testing.T) {
	for why, want := range map[limiter.Rejection]string{
		limiter.RateExceeded: "rate", limiter.Full: "full", limiter.QueueFull: "queue_full", limiter.Timeout: "timeout",
		limiter.Caller: "caller", 0: "unknown", 200: "unknown",
	} {
		if got := why.Error(); got != want {
			t.Errorf("rejection %d is %q, want %q", uint8(why), got, want)
		}
	}
}

func TestRejectedTotalIsTheSumOfReasons(t *testing.T) {
	r := rejected(limiter.Full, 2)
	r[limiter.Caller] = 3
	if r.Total() != 5 {
		t.Errorf("total is %d, want 5", r.Total())
	}
}
