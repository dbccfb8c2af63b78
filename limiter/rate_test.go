package limiter_test

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

// meter is a Rate with a clock.
type meter struct {
	*limiter.Rate
	t   *testing.T
	now time.Time
}

func newMeter(t *testing.T, o limiter.RateOptions) *meter {
	t.Helper()
	return &meter{Rate: limiter.NewRate(o, t0), t: t, now: t0}
}

func (m *meter) take(key string) limiter.Verdict { return m.Take([]byte(key), m.now) }

// wantTakes wants exactly n of key's next requests to be admitted.
func (m *meter) wantTakes(key string, n int) {
	m.t.Helper()
	for i := range n {
		if v := m.take(key); !v.OK {
			m.t.Fatalf("request %d of key %q was refused: %+v, want %d", i+1, key, v, n)
		}
	}
	if v := m.take(key); v.OK {
		m.t.Fatalf("key %q got more than %d", key, n)
	}
}

func tenPerSecond(burst, keys int) limiter.RateOptions {
	return limiter.RateOptions{Requests: 10, Per: time.Second, Burst: burst, Keys: keys}
}

func TestABurstComesAtOnceAndTheRestWithTime(t *testing.T) {
	m := newMeter(t, tenPerSecond(5, 1))
	m.wantTakes("", 5)
	m.now = m.now.Add(299 * time.Millisecond)
	m.wantTakes("", 2)
	m.now = m.now.Add(time.Millisecond)
	m.wantTakes("", 1)
	m.now = m.now.Add(time.Hour)
	m.wantTakes("", 5)
}

func TestAVerdictTellsWhatIsLeftAndWhenThereIsMore(t *testing.T) {
	m := newMeter(t, tenPerSecond(3, 1))
	for i, want := range []limiter.Verdict{
		{OK: true, Limit: 3, Remaining: 2, Reset: 100 * time.Millisecond},
		{OK: true, Limit: 3, Remaining: 1, Reset: 70 * time.Millisecond},
		{OK: true, Limit: 3, Remaining: 0, Reset: 40 * time.Millisecond},
		{Limit: 3, Retry: 10 * time.Millisecond, Reset: 10 * time.Millisecond},
	} {
		if got := m.take(""); got != want {
			t.Errorf("verdict %d is %+v, want %+v", i, got, want)
		}
		m.now = m.now.Add(30 * time.Millisecond)
	}
}

func TestARetryInTimeIsAdmittedAndNotANanosecondBefore(t *testing.T) {
	for _, o := range []limiter.RateOptions{
		tenPerSecond(1, 1),
		{Requests: 7, Per: time.Second, Burst: 3, Keys: 1},
		{Requests: 1, Per: 24 * time.Hour, Burst: 2, Keys: 1},
		{Requests: 1_000_000, Per: time.Second, Burst: 2, Keys: 1},
	} {
		m := newMeter(t, o)
		m.wantTakes("", o.Burst)
		retry := m.take("").Retry
		m.now = m.now.Add(retry - 1)
		if v := m.take(""); v.OK || v.Retry != 1 {
			t.Errorf("%+v: a nanosecond early: %+v", o, v)
		}
		m.now = m.now.Add(1)
		if v := m.take(""); !v.OK {
			t.Errorf("%+v: in time: %+v", o, v)
		}
	}
}

func TestKeysHaveBucketsOfTheirOwn(t *testing.T) {
	m := newMeter(t, tenPerSecond(2, 10))
	m.wantTakes("a", 2)
	m.wantTakes("b", 2)
	wantStats(t, m.Stats(m.now), limiter.Stats{
		Capacity: 10, Used: 2, KeyCapacity: 2, KeyUsed: 2, Rejected: rejected(limiter.RateExceeded, 2),
	})
}

func TestAKeyMayBeChangedAfterwards(t *testing.T) {
	m := newMeter(t, tenPerSecond(1, 10))
	key := []byte("a")
	m.Take(key, m.now)
	key[0] = 'b'
	if !m.Take(key, m.now).OK || m.take("a").OK {
		t.Error("a change of the key's bytes changed who spent")
	}
}

func TestNoRateIsNoBound(t *testing.T) {
	m := newMeter(t, limiter.RateOptions{})
	for range 1000 {
		if v := m.take(""); v != (limiter.Verdict{OK: true}) {
			t.Fatalf("got %+v", v)
		}
	}
	wantStats(t, m.Stats(m.now), limiter.Stats{Capacity: 1})
}

func TestAHugeBurstDoesNotOverflow(t *testing.T) {
	m := newMeter(t, limiter.RateOptions{Requests: 1, Per: math.MaxInt64, Burst: math.MaxInt, Keys: 1})
	m.wantTakes("", 1)
	m.now = m.now.Add(time.Hour)
	m.wantTakes("", 0)
	m = newMeter(t, limiter.RateOptions{Requests: math.MaxInt, Per: time.Second, Burst: math.MaxInt, Keys: 1})
	if v := m.take(""); !v.OK || v.Remaining < math.MaxInt/8 {
		t.Errorf("got %+v", v)
	}
}

func TestAClockThatGoesBackLocksNobodyOutForLongerThanABucketTakes(t *testing.T) {
	m := newMeter(t, tenPerSecond(5, 1))
	m.wantTakes("", 5)
	m.now = m.now.Add(-time.Hour)
	if v := m.take(""); v.OK || v.Retry > 100*time.Millisecond {
		t.Errorf("an hour back: %+v", v)
	}
	m.now = m.now.Add(500 * time.Millisecond)
	m.wantTakes("", 5)
}

func TestResizeKeepsWhatEachKeySpent(t *testing.T) {
	for name, c := range map[string]struct {
		to   limiter.RateOptions
		left int // of a key that had spent 4 of 6
	}{
		"nothing new":     {tenPerSecond(6, 9), 2},
		"larger burst":    {tenPerSecond(10, 9), 6},
		"smaller burst":   {tenPerSecond(5, 9), 1},
		"burst below":     {tenPerSecond(3, 9), 0},
		"slower":          {limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 6, Keys: 9}, 2},
		"faster":          {limiter.RateOptions{Requests: 9999, Per: time.Second, Burst: 6, Keys: 9}, 2},
		"slower and more": {limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 7, Keys: 9}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeter(t, tenPerSecond(6, 9))
			for range 4 {
				m.take("a")
			}
			m.Resize(c.to, m.now)
			m.wantTakes("a", c.left)
			m.wantTakes("b", c.to.Burst)
		})
	}
}

func TestAfterResizeNobodyWaitsLongerThanForANewToken(t *testing.T) {
	m := newMeter(t, tenPerSecond(100, 1))
	m.wantTakes("", 100)
	m.Resize(tenPerSecond(2, 1), m.now)
	m.now = m.now.Add(100 * time.Millisecond)
	m.wantTakes("", 1)
}

func TestResizeKeepsWhatAnEvictedKeySpent(t *testing.T) {
	m := newMeter(t, limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 3, Keys: 1})
	m.wantTakes("a", 3)
	m.take("b")
	m.Resize(tenPerSecond(5, 1), m.now)
	m.wantTakes("a", 2)
}

func TestResizeFromTheFastestToTheSlowestDoesNotOverflow(t *testing.T) {
	m := newMeter(t, limiter.RateOptions{Requests: math.MaxInt, Per: time.Second, Burst: math.MaxInt, Keys: 1})
	m.take("")
	m.now = m.now.Add(math.MinInt64 / 2) // all is spent
	m.Resize(limiter.RateOptions{Requests: 1, Per: math.MaxInt64, Burst: math.MaxInt, Keys: 1}, m.now)
	m.wantTakes("", 0)
}

func TestResizeToNoBoundAndBackForgets(t *testing.T) {
	m := newMeter(t, tenPerSecond(2, 1))
	m.wantTakes("", 2)
	m.Resize(limiter.RateOptions{}, m.now)
	m.take("")
	m.Resize(tenPerSecond(2, 1), m.now)
	m.wantTakes("", 2)
}

func TestTheKeyNotUsedForTheLongestTimeIsEvicted(t *testing.T) {
	m := newMeter(t, limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 1, Keys: 2})
	m.take("a")
	m.take("b")
	m.take("a") // refused, but used
	m.take("c") // b goes
	if s := m.Stats(m.now); s.Used != 2 || s.Evicted != 1 {
		t.Errorf("stats are %+v", s)
	}
	m.now = m.now.Add(time.Minute)
	before := m.Stats(m.now).Evicted
	m.take("a")
	m.take("c")
	if n := m.Stats(m.now).Evicted - before; n != 0 {
		t.Errorf("a and c were evicted, too: %d", n)
	}
}

func TestAnEvictedKeyComesBackToNoFreshBurst(t *testing.T) {
	m := newMeter(t, limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 3, Keys: 1})
	m.wantTakes("a", 3)
	m.take("b")
	m.wantTakes("a", 0)
	m.now = m.now.Add(time.Hour)
	m.wantTakes("a", 1)
}

func TestEvictionOfAFullBucketCostsNobody(t *testing.T) {
	m := newMeter(t, tenPerSecond(3, 1))
	for i := range 100 {
		m.wantTakes(string(rune('a'+i)), 3)
		m.now = m.now.Add(300 * time.Millisecond)
	}
}

func TestMadeUpKeysGetNotMuchMoreThanTheSlotsHave(t *testing.T) {
	const keys, slots, burst = 64, 128, 5
	m := newMeter(t, limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: burst, Keys: keys})
	admitted := 0
	for i := range 100_000 {
		if m.Take(binary.LittleEndian.AppendUint32(nil, uint32(i)), m.now).OK {
			admitted++
		}
	}
	// Keys of one slot that are in the table together start with the same debt.
	if most := 2 * slots * burst; admitted > most {
		t.Errorf("100000 made-up keys got %d requests through, want at most %d", admitted, most)
	}
}

func TestResizeOfTheTableKeepsDebts(t *testing.T) {
	for _, keys := range []int{1, 4, 32, 500} {
		m := newMeter(t, limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 2, Keys: 32})
		names := make([]string, 64) // half of them are evicted
		for i := range names {
			names[i] = string(rune('A' + i))
			m.take(names[i])
			m.take(names[i])
		}
		m.Resize(limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 2, Keys: keys}, m.now)
		if s := m.Stats(m.now); s.Used > int64(keys) || s.Capacity != int64(keys) {
			t.Errorf("with %d keys: %+v", keys, s)
		}
		for _, name := range names {
			m.wantTakes(name, 0)
		}
	}
}

func TestConcurrentRequestsGetTheBurstAndNoMore(t *testing.T) {
	const burst = 1000
	r := limiter.NewRate(limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: burst, Keys: 4}, t0)
	var admitted [2]atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range burst {
				key := i % 2
				if r.Take([]byte{byte(key)}, t0).OK {
					admitted[key].Add(1)
				}
				if i%100 == 0 {
					r.Resize(limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: burst, Keys: 4 + i%3}, t0)
					r.Stats(t0)
				}
			}
		})
	}
	all.Wait()
	for key := range admitted {
		if n := admitted[key].Load(); n != burst {
			t.Errorf("key %d got %d, want %d", key, n, burst)
		}
	}
}

func TestATokenThatIsReturnedCanBeSpentAgain(t *testing.T) {
	m := newMeter(t, tenPerSecond(2, 10))
	m.wantTakes("a", 2)
	m.Return([]byte("a"), m.now)
	m.wantTakes("a", 1)
	for range 5 {
		m.Return([]byte("a"), m.now)
	}
	m.wantTakes("a", 2) // never more than the bucket holds
	m.Return([]byte("b"), m.now)
	m.wantTakes("b", 2)
}
