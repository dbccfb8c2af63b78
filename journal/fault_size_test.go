package journal

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// faults skips a test that takes long, unless such are asked for.
func faults(t *testing.T) {
	t.Helper()
	if os.Getenv("MTLSPROXY_FAULTS") != "1" {
		t.Skip("SKIP a long test; MTLSPROXY_FAULTS=1 runs it")
	}
}

func TestFaultQueriesOverTenMillionRecords(t *testing.T) {
	faults(t)
	const n = 10_000_000
	l := open(t, Options{Directory: t.TempDir(), MaxSize: 4 << 30})
	began := time.Now()
	tr := newTraffic(1)
	fill(t, l, tr, n)
	s := l.Stats()
	t.Logf("%d records in %v, %.1f bytes each on disk, %d segments", n, time.Since(began), float64(s.Bytes)/n, len(s.Segments))
	for _, c := range []struct {
		name  string
		q     Query
		limit time.Duration
	}{
		{"id", Query{Filter: Filter{ID: fmt.Sprintf("7f3a90c1d2e4%012x", n/3)}}, 100 * time.Millisecond},
		{"id that is not there", Query{Filter: Filter{ID: "no such id"}}, 100 * time.Millisecond},
		{"newest 100", Query{Newest: true, Limit: 100}, 100 * time.Millisecond},
		{"newest 100 of a route", Query{Newest: true, Limit: 100, Filter: Filter{Route: []string{"mail"}}}, 100 * time.Millisecond},
		{"errors", Query{Filter: Filter{Class: []string{AnyClass}}}, 2 * time.Second},
		{"5xx", Query{Filter: Filter{Status: []StatusRange{{500, 599}}}}, 2 * time.Second},
		{"unknown caller", Query{Filter: Filter{Caller: []int64{NoCaller}}}, 2 * time.Second},
		{"slow", Query{Filter: Filter{MinTotal: 40 * time.Millisecond}}, 2 * time.Second},
		{"path", Query{Filter: Filter{Path: "*/accounts/777777/*"}}, 2 * time.Second},
		{"one second", Query{Filter: Filter{From: start.Add(100 * time.Second), To: start.Add(101 * time.Second)}}, 200 * time.Millisecond},
	} {
		began := time.Now()
		found := 0
		if err := l.Query(t.Context(), c.q, func(*Record) error { found++; return nil }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("%-22s %8d records in %v", c.name, found, took.Round(10*time.Microsecond))
		if took > c.limit {
			t.Errorf("%s: %v, want at most %v", c.name, took, c.limit)
		}
	}
}
