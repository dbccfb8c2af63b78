package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noise fills r with what does not pack.
func noise(rnd *rand.Rand, r *Record) {
	b := make([]byte, maxPath)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	*r = Record{Time: time.Now(), ID: []byte(hex.EncodeToString(b[:20])), Host: b[100:350], Method: []byte("GET"), Path: b}
}

func TestWhatDoesNotPackStaysBelowMaxSizeAtEveryCommit(t *testing.T) {
	for _, c := range []struct {
		mib     int64
		most    int // records in a batch
		records int
	}{{4, 12, 3000}, {4, 200, 6000}, {16, 12, 5000}, {16, 1000, 20_000}} {
		t.Run(fmt.Sprintf("%d MiB, batches of up to %d", c.mib, c.most), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(c.mib), uint64(c.most)))
			dir := t.TempDir()
			l := open(t, Options{Directory: dir, MaxSize: c.mib << 20, flushAfter: time.Millisecond})
			var r Record
			peak := int64(0)
			for n := 0; n < c.records; {
				batch := 1 + rnd.IntN(c.most)
				want := l.Stats().Written + uint64(batch)
				for range batch {
					noise(rnd, &r)
					l.Add(&r)
				}
				eventually(t, "they are written", func() bool {
					peak = max(peak, used(t, dir))
					return l.Stats().Written+l.Stats().Dropped >= want
				})
				peak = max(peak, used(t, dir))
				n += batch
			}
			s := l.Stats()
			t.Logf("at most %d bytes, %d written, %d segments", peak, s.Written, len(s.Segments))
			if peak > c.mib<<20 {
				t.Errorf("%d bytes on disk, want at most %d", peak, c.mib<<20)
			}
			if peak < c.mib<<19 || s.Dropped > 0 || s.Err != "" {
				t.Errorf("peak %d, %d dropped, %q", peak, s.Dropped, s.Err)
			}
			if s.Bytes != used(t, dir) {
				t.Errorf("Stats tells of %d bytes, there are %d", s.Bytes, used(t, dir))
			}
		})
	}
}

func TestRestartsAndSmallerLimitsKeepBelowMaxSize(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	const most = 4 << 20
	var r Record
	for run := range 12 {
		size := int64(most)
		if run == 0 {
			size = 64 << 20 // its blocks are large
		}
		l := open(t, Options{Directory: dir, MaxSize: size})
		for range 900 {
			noise(rnd, &r)
			l.Add(&r)
		}
		eventually(t, "they are written", func() bool { return l.Stats().Written == 900 })
		if run == 0 {
			l.Resize(Limits{MaxSize: most})
			eventually(t, "it is smaller", func() bool { return l.Stats().Bytes <= most })
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if n := used(t, dir); n > most {
			t.Fatalf("run %d: %d bytes on disk, want at most %d", run, n, most)
		}
	}
}

// TestACommitThatWouldBeTooLargeFails is about the last line, behind the reckoning before
// each commit.
func TestACommitThatWouldBeTooLargeFails(t *testing.T) {
	e, err := newEncoder(true)
	if err != nil {
		t.Fatal(err)
	}
	a, err := createActive(filepath.Join(t.TempDir(), "s"), 64<<20, e, start)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close(false)
	const most = 100 << 10
	a.bound(most)
	rnd := rand.New(rand.NewPCG(1, 1))
	var r Record
	for range 100 {
		noise(rnd, &r)
		if err = a.add([]view{{appendRaw(nil, &r), 1}}); err != nil {
			break
		}
	}
	if size, _ := a.size(); err == nil || size > most {
		t.Errorf("%d bytes, %v", size, err)
	}
}

func TestTheReckoningIsNeverBelowWhatACommitTakes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 2))
	for _, limit := range []int64{64 << 10, 1 << 20, 16 << 20} {
		e, err := newEncoder(true)
		if err != nil {
			t.Fatal(err)
		}
		a, err := createActive(filepath.Join(t.TempDir(), "s"), limit, e, start)
		if err != nil {
			t.Fatal(err)
		}
		a.db.NoSync = true
		tr := newTraffic(3)
		var r Record
		for range 150 {
			var raw []byte
			n := 1 + rnd.IntN(1+rnd.IntN(400))
			for range n {
				if rnd.IntN(2) == 0 {
					noise(rnd, &r)
				} else {
					tr.next(&r)
				}
				raw = appendRaw(raw, &r)
			}
			before, _ := a.size()
			want := a.growth(len(raw), n)
			if err := a.add([]view{{raw, n}}); err != nil {
				t.Fatal(err)
			}
			if after, _ := a.size(); after-before > want {
				t.Fatalf("it grew by %d, %d were reckoned with", after-before, want)
			}
		}
		before, _ := a.size()
		want := a.growth(0, 0)
		if err := a.seal(); err != nil {
			t.Fatal(err)
		}
		if after, _ := a.size(); after-before > want {
			t.Fatalf("sealed it grew by %d, %d were reckoned with", after-before, want)
		}
	}
}

func TestSegmentsGoByAgeAfterTheClockWasAheadForAMoment(t *testing.T) {
	var c clock
	limits := Limits{SegmentAge: time.Hour, MaxAge: 24 * time.Hour}
	l := open(t, Options{Directory: t.TempDir(), Now: c.now, SegmentAge: limits.SegmentAge, MaxAge: limits.MaxAge})
	tr := newTraffic(1)
	add := func(at time.Time) {
		c.set(at)
		tr.now = at
		fill(t, l, tr, 1)
	}
	add(start.AddDate(5, 0, 0))
	for i := range 60 {
		add(start.Add(time.Duration(i) * time.Hour))
	}
	l.Resize(limits)
	eventually(t, "all that is old is gone", func() bool {
		for _, s := range l.Stats().Segments {
			if c.now().Sub(s.To) > limits.MaxAge || s.To.After(c.now().Add(time.Minute)) {
				return false
			}
		}
		return true
	})
	if n := len(l.Stats().Segments); n < 24 {
		t.Errorf("%d segments are left, want those of a day", n)
	}
}

func TestAClockThatWasFarBehindCostsNoOtherSegment(t *testing.T) {
	var c clock
	limits := Limits{SegmentAge: time.Hour, MaxAge: 24 * time.Hour}
	l := open(t, Options{Directory: t.TempDir(), Now: c.now, SegmentAge: limits.SegmentAge, MaxAge: limits.MaxAge})
	tr := newTraffic(1)
	for _, at := range []time.Time{start, time.Unix(100, 0), start.Add(2 * time.Hour)} {
		c.set(at)
		tr.now = at
		fill(t, l, tr, 10)
	}
	l.Resize(limits)
	eventually(t, "what says it is old is gone", func() bool { return len(l.Stats().Segments) == 2 })
	if got := len(query(t, l, Query{})); got != 20 {
		t.Errorf("%d records", got)
	}
}

func TestWhatAnOperatorDeletesFromTheQuarantineIsForgotten(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"requests-00000001-0.db", "requests-00000002-0.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, Options{Directory: dir})
	eventually(t, "they are put aside", func() bool { return len(l.Stats().Quarantined) == 2 })
	before := l.Stats().Bytes
	if err := os.Remove(filepath.Join(dir, quarantineName, "requests-00000001-0.db")); err != nil {
		t.Fatal(err)
	}
	l.Resize(Limits{})
	eventually(t, "it is forgotten", func() bool { return len(l.Stats().Quarantined) == 1 })
	s := l.Stats()
	if s.Quarantined[0].Name != "requests-00000002-0.db" || !strings.Contains(s.Quarantined[0].Why, "foreign") && s.Quarantined[0].Why == "" {
		t.Errorf("%+v", s.Quarantined)
	}
	if exists(filepath.Join(dir, quarantineName, "requests-00000001-0.db.txt")) || s.Bytes >= before || s.Bytes != used(t, dir) {
		t.Errorf("%d bytes of %d are left, %d on disk", s.Bytes, before, used(t, dir))
	}
	if err := os.RemoveAll(filepath.Join(dir, quarantineName)); err != nil {
		t.Fatal(err)
	}
	l.Resize(Limits{})
	eventually(t, "all is forgotten", func() bool { return len(l.Stats().Quarantined) == 0 })
}

func TestNewFilesOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	theirs, ours := filepath.Join(dir, "client.crt.new"), filepath.Join(dir, "requests-00000001-0.db.new")
	for _, name := range []string{theirs, ours} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, Options{Directory: dir})
	query(t, l, Query{})
	if !exists(theirs) || exists(ours) {
		t.Errorf("theirs is there: %v, ours: %v", exists(theirs), exists(ours))
	}
}

func TestSegmentsBeyondEightDigitsAreFoundAgain(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "requests-99999999-0.db"), sample(t, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	want := 100
	for range 3 {
		l := open(t, Options{Directory: dir, SegmentSize: 1})
		fill(t, l, newTraffic(5), 3000)
		want += 3000
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, Options{Directory: dir})
	if got := len(query(t, l, Query{})); got != want {
		t.Errorf("%d records, want %d", got, want)
	}
	if s := l.Stats(); s.Bytes != used(t, dir) || len(s.Segments) < 3 {
		t.Errorf("Stats tells of %d bytes, there are %d", s.Bytes, used(t, dir))
	}
}

func TestAnAbsurdNumberIsPutAside(t *testing.T) {
	dir := t.TempDir()
	const absurd, foreign = "requests-999999999999-0.db", "requests-9223372036854775807-0.db"
	for _, name := range []string{absurd, foreign} {
		if err := os.WriteFile(filepath.Join(dir, name), sample(t, 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, Options{Directory: dir})
	fill(t, l, newTraffic(1), 10)
	s := l.Stats()
	if len(s.Segments) != 1 || s.Segments[0].Name != "requests-00000001-0.db" || len(s.Quarantined) != 1 || s.Quarantined[0].Name != absurd {
		t.Errorf("%+v", s)
	}
	if !exists(filepath.Join(dir, foreign)) {
		t.Error("a file that is not ours was touched")
	}
}

func TestNoFileIsReplacedByANewSegment(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Directory: dir})
	query(t, l, Query{}) // the directory was read
	theirs := filepath.Join(dir, "requests-00000001-0.db")
	if err := os.WriteFile(theirs, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(t, l, newTraffic(1), 10)
	if b, err := os.ReadFile(theirs); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	if err := rename(filepath.Join(dir, l.Stats().Segments[0].Name), theirs); !errors.Is(err, os.ErrExist) {
		t.Errorf("renaming over a file: %v", err)
	}
}

func TestAHardFilterEndsWithItsContext(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	fill(t, l, newTraffic(1), 2000)
	ctx, cancel := context.WithCancel(t.Context())
	looked := 0
	m := newMatcher(&Filter{})
	m.texts = []textCondition{{tPath, func([]byte) bool { looked++; cancel(); return false }}}
	s, err := l.newScan(&Filter{})
	if err != nil {
		t.Fatal(err)
	}
	s.matcher = m
	if err := s.all(ctx); !errors.Is(err, context.Canceled) || looked > 64 {
		t.Errorf("after %d paths: %v", looked, err)
	}
	long := Filter{Path: strings.Repeat("a", maxPattern+1)}
	if err := l.Query(t.Context(), Query{Filter: long}, func(*Record) error { return nil }); err == nil {
		t.Error("a pattern beyond the bound was taken")
	}
}
