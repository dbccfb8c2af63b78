package journal

import (
	"fmt"
	"testing"
)

func TestQueryFindsWhatWasAddedBeforeItIsWritten(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	tr := newTraffic(1)
	var r Record
	for i := range 100 {
		tr.next(&r)
		l.Add(&r)
		if got := len(query(t, l, Query{})); got != i+1 {
			t.Fatalf("%d records are found after %d were added", got, i+1)
		}
	}
}

func TestQueryFindsEveryRecordOnceWhileItIsWritten(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir(), SegmentSize: 128 << 10, MaxSize: 1 << 30})
	const each = 700
	tr := newTraffic(1)
	var r Record
	for n := range 20 {
		for range each {
			tr.next(&r)
			l.Add(&r)
		}
		for _, newest := range []bool{false, true} {
			got := query(t, l, Query{Newest: newest})
			if len(got) != (n+1)*each {
				t.Fatalf("%d records are found after %d were added", len(got), (n+1)*each)
			}
			for i, r := range got {
				want := i + 1
				if newest {
					want = len(got) - i
				}
				if string(r.ID) != fmt.Sprintf("7f3a90c1d2e4%012x", want) {
					t.Fatalf("record %d is %s", i, r.ID)
				}
			}
		}
	}
	if n := len(l.Stats().Segments); n < 3 {
		t.Errorf("%d segments; the test wants several", n)
	}
}

func TestRecordsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	tr := newTraffic(1)
	for run := range 5 {
		l := open(t, Options{Directory: dir})
		fill(t, l, tr, 1000)
		if got := len(query(t, l, Query{})); got != (run+1)*1000 {
			t.Fatalf("run %d finds %d records", run, got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, Options{Directory: dir})
	eventually(t, "the log is read", func() bool { return len(l.Stats().Segments) > 0 })
	s := l.Stats()
	if len(s.Segments) != 1 || s.Segments[0].Records != 5000 {
		t.Errorf("small segments are not continued: %+v", s.Segments)
	}
	if got := query(t, l, Query{Newest: true, Limit: 1}); string(got[0].ID) != fmt.Sprintf("7f3a90c1d2e4%012x", 5000) {
		t.Errorf("the newest is %s", got[0].ID)
	}
}
