package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAllocAddAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIP the race detector allocates")
	}
	// No writer: it would allocate beside it.
	b := newBuffer(8 << 20)
	var r Record
	newTraffic(1).next(&r)
	if n := testing.AllocsPerRun(20_000, func() { b.add(&r) }); n != 0 {
		t.Errorf("%v allocations for each record", n)
	}
	if b.dropped > 0 {
		t.Errorf("%d were dropped; the test wants none", b.dropped)
	}
}

// used is what stands on the disk.
func used(t testing.TB, dir string) int64 {
	t.Helper()
	n := int64(0)
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestTheLogStaysBelowItsSize(t *testing.T) {
	dir := t.TempDir()
	const most = 4 << 20
	l := open(t, Options{Directory: dir, MaxSize: most})
	tr := newTraffic(1)
	tr.pad = 400
	for range 40 {
		fill(t, l, tr, 1024)
		if n := used(t, dir); n > most {
			t.Fatalf("%d bytes on disk, want at most %d", n, most)
		}
	}
	s := l.Stats()
	if s.Bytes > most || s.Bytes != used(t, dir) {
		t.Errorf("Stats tells of %d bytes, there are %d", s.Bytes, used(t, dir))
	}
	got := query(t, l, Query{})
	if len(got) < 3000 || len(got) > 39*1024 {
		t.Errorf("%d records are kept in %+v", len(got), s.Segments)
	}
	if last := got[len(got)-1]; string(last.ID) != fmt.Sprintf("7f3a90c1d2e4%012x", 40*1024) {
		t.Errorf("the last is %s", last.ID)
	}
	l.Resize(Limits{MaxSize: most, MaxAge: time.Nanosecond})
	eventually(t, "old segments are deleted", func() bool { return len(l.Stats().Segments) <= 1 })
}

// A clock stands until it is told to go on.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time  { return time.Unix(0, c.ns.Load()) }
func (c *clock) set(t time.Time) { c.ns.Store(t.UnixNano()) }
func segments(l *Log) (names []string) {
	for _, s := range l.Stats().Segments {
		names = append(names, s.Name)
	}
	return names
}

func TestSegmentsRotateAndGoByAge(t *testing.T) {
	var c clock
	c.set(start)
	l := open(t, Options{Directory: t.TempDir(), SegmentAge: time.Hour, MaxAge: 3 * time.Hour, Now: c.now})
	tr := newTraffic(1)
	for i := range 6 {
		now := start.Add(time.Duration(i) * 61 * time.Minute)
		c.set(now)
		tr.now = now
		fill(t, l, tr, 10)
	}
	l.Resize(Limits{SegmentAge: time.Hour, MaxAge: 3 * time.Hour})
	eventually(t, "the oldest are gone", func() bool {
		return strings.Join(segments(l), " ") == "requests-00000004-0.db requests-00000005-0.db requests-00000006-0.db"
	})
}

func TestRecordsAreFoundAfterTheClockWentBack(t *testing.T) {
	var c clock
	c.set(start)
	l := open(t, Options{Directory: t.TempDir(), Now: c.now})
	tr := newTraffic(1)
	fill(t, l, tr, 100)
	back := start.Add(-48 * time.Hour)
	c.set(back)
	tr.now = back
	fill(t, l, tr, 50)
	tr.now = back.Add(time.Minute)
	fill(t, l, tr, 50)
	if got := len(query(t, l, Query{Filter: Filter{From: back, To: start.Add(-time.Hour)}})); got != 100 {
		t.Errorf("%d records from before, want 100", got)
	}
	if got := len(query(t, l, Query{Filter: Filter{From: start}})); got != 100 {
		t.Errorf("%d records from after, want 100", got)
	}
	if got := len(query(t, l, Query{})); got != 200 {
		t.Errorf("%d records, want 200", got)
	}
}

func TestTheLogWaitsForItsDirectory(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(parent, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Directory: filepath.Join(parent, "log"), Buffer: 1 << 20})
	tr := newTraffic(1)
	var r Record
	for range 10_000 {
		tr.next(&r)
		l.Add(&r)
	}
	eventually(t, "the trouble is told", func() bool { return strings.Contains(l.Stats().Err, "not a directory") })
	s := l.Stats()
	if s.Dropped == 0 || s.Dropped+uint64(s.Buffered) != 10_000 {
		t.Errorf("%d dropped, %d kept", s.Dropped, s.Buffered)
	}
	found := 0
	err := l.Query(t.Context(), Query{}, func(*Record) error { found++; return nil })
	if found != s.Buffered || err == nil || !strings.Contains(err.Error(), "only what waits in memory") {
		t.Errorf("%d records are found, %d wait; %v", found, s.Buffered, err)
	}
	if err := os.Remove(parent); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was kept is written", func() bool { return l.Stats().Written == uint64(s.Buffered) })
	if s := l.Stats(); s.Err != "" || s.Buffered != 0 {
		t.Errorf("%+v", s)
	}
	info, err := os.Stat(filepath.Join(parent, "log"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
}

func TestASecondProcessLeavesTheDirectoryAlone(t *testing.T) {
	dir := t.TempDir()
	first := open(t, Options{Directory: dir})
	fill(t, first, newTraffic(1), 100)
	second := open(t, Options{Directory: dir})
	var r Record
	newTraffic(2).next(&r)
	second.Add(&r)
	eventually(t, "it is told", func() bool { return strings.Contains(second.Stats().Err, "another mtlsproxyd has it") })
	fill(t, first, newTraffic(1), 100)
	if got := len(query(t, first, Query{})); got != 200 {
		t.Errorf("%d records", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second takes over", func() bool { return second.Stats().Written == 1 })
	if got := len(query(t, second, Query{})); got != 201 {
		t.Errorf("%d records", got)
	}
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	l := open(t, Options{Directory: "/dev/null/log"})
	var r Record
	newTraffic(1).next(&r)
	l.Add(&r)
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "1 records are lost") {
		t.Errorf("got %v", err)
	}
	l.Add(&r)
	if s := l.Stats(); s.Dropped != 1 {
		t.Errorf("%d dropped after Close", s.Dropped)
	}
}

func TestASegmentMayBeDeletedWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Directory: dir, MaxSize: 4 << 20})
	tr := newTraffic(1)
	tr.pad = 400
	fill(t, l, tr, 5000)
	n := 0
	err := l.Query(t.Context(), Query{}, func(*Record) error {
		if n++; n == 1 {
			fill(t, l, tr, 25_000)
		}
		return nil
	})
	if err != nil {
		t.Errorf("after %d records: %v", n, err)
	}
	if l.Stats().Oldest.Equal(start.Add(tr.step)) {
		t.Error("nothing was deleted; the test says nothing")
	}
}

func TestQueriesEndWithTheirContextAndTheirReader(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	fill(t, l, newTraffic(1), 100)
	enough := errors.New("enough")
	if err := l.Query(t.Context(), Query{}, func(*Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Query(ctx, Query{}, func(*Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// pause starts n queries whose readers pause until the function is called that it
// returns.
func pause(t *testing.T, l *Log, n int) (goOn func()) {
	t.Helper()
	hold := make(chan struct{})
	var inside, done sync.WaitGroup
	inside.Add(n)
	for range n {
		done.Go(func() {
			_ = l.Query(context.Background(), Query{}, func(*Record) error { inside.Done(); <-hold; return nil })
		})
	}
	inside.Wait()
	return sync.OnceFunc(func() { close(hold); done.Wait() })
}

func TestReadersThatPauseHoldUpNoOtherQuery(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	fill(t, l, newTraffic(1), 1)
	goOn := pause(t, l, maxQueries+1)
	defer goOn()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found := 0
	if err := l.Query(ctx, Query{}, func(*Record) error { found++; return nil }); err != nil || found != 1 {
		t.Errorf("%d records, %v", found, err)
	}
	goOn()
	if len(l.queries) != 0 || len(l.readers) != 0 {
		t.Errorf("%d turns and %d places are still taken", len(l.queries), len(l.readers))
	}
}

func TestAQueryTooManyIsToldSoInTime(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	fill(t, l, newTraffic(1), 1)
	defer pause(t, l, maxReaders)()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Query(ctx, Query{}, func(*Record) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it waits: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Query(ctx, Query{}, func(*Record) error { return nil }); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
}

func TestQueriesThatWorkWaitForTheirTurn(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	fill(t, l, newTraffic(1), 1)
	for range maxQueries {
		l.queries <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Query(ctx, Query{}, func(*Record) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	<-l.queries
	if got := len(query(t, l, Query{})); got != 1 {
		t.Errorf("%d records", got)
	}
}

func TestFollowersSeeEveryRecordInTime(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir(), SegmentSize: 256 << 10})
	tr := newTraffic(1)
	fill(t, l, tr, 5000) // from before: not theirs
	const n = 30_000
	enough := errors.New("enough")
	started, result := make(chan struct{}), make(chan error, 1)
	var got atomic.Int64
	go func() {
		close(started)
		want := 0
		result <- l.Follow(context.Background(), Filter{Route: []string{"mail"}}, func(r *Record, lost uint64) error {
			switch {
			case lost > 0:
				return fmt.Errorf("%d are lost", lost)
			case r.Route != "mail":
				return fmt.Errorf("a record of %s", r.Route)
			case string(r.ID) == fmt.Sprintf("7f3a90c1d2e4%012x", 5000+n+1):
				return enough
			}
			want++
			got.Add(1)
			return nil
		})
	}()
	<-started
	eventually(t, "it follows", func() bool { return l.follows.Load() == 1 })
	mail := int64(0)
	var r Record
	for i := range n {
		if i%3000 == 0 {
			fill(t, l, tr, 0)
			eventually(t, "there is room", func() bool { return l.Stats().Buffered == 0 })
		}
		tr.next(&r)
		if r.Route == "mail" {
			mail++
		}
		l.Add(&r)
	}
	tr.next(&r)
	r.Route = "mail"
	l.Add(&r)
	if err := <-result; !errors.Is(err, enough) {
		t.Error(err)
	}
	if got.Load() != mail {
		t.Errorf("%d records were seen, want %d", got.Load(), mail)
	}
}

func TestASlowFollowerIsToldWhatItLost(t *testing.T) {
	l := open(t, Options{Directory: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	seen, lost := uint64(0), uint64(0)
	result := make(chan error, 1)
	first, goOn := make(chan struct{}), make(chan struct{})
	go func() {
		result <- l.Follow(ctx, Filter{}, func(r *Record, n uint64) error {
			if r != nil {
				seen++
			}
			lost += n
			if seen == 1 && r != nil {
				close(first)
				<-goOn
			}
			if seen+lost == 1+followBehind+5000 {
				cancel()
			}
			return nil
		})
	}()
	eventually(t, "it follows", func() bool { return l.follows.Load() == 1 })
	tr := newTraffic(1)
	fill(t, l, tr, 1)
	<-first
	fill(t, l, tr, followBehind+5000)
	close(goOn)
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if lost != 5000 || seen != 1+followBehind {
		t.Errorf("%d seen, %d lost", seen, lost)
	}
}

func TestAFewRecordsNowAndThenTakeLittleRoom(t *testing.T) {
	w := &writer{l: Open(Options{Directory: "/dev/null/unused"})}
	defer w.l.Close()
	if err := w.prepare(); err != nil {
		t.Fatal(err)
	}
	a, err := createActive(filepath.Join(t.TempDir(), "s"), 8<<20, w.store.encoder, start)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(1)
	var r Record
	const commits = 5000
	for range commits {
		tr.next(&r)
		if err := a.add([]view{{appendRaw(nil, &r), 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.close(false); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(a.path)
	if err != nil || info.Size() > 600_000 {
		t.Errorf("%d bytes for %d records, %v", info.Size(), commits, err)
	}
	f, err := openSegment(a.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	c, err := f.contents()
	if err != nil || len(c.blocks) != 1 || len(c.tail) > (commits-maxRows)/tailPart+1 {
		t.Errorf("%d blocks, %d parts of the tail, %v", len(c.blocks), len(c.tail), err)
	}
	t.Logf("%d bytes on disk", info.Size())
}
