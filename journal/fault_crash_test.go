package journal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	childVariable = "MTLSPROXY_JOURNAL_CHILD" // a directory: write a log there, until killed
	runVariable   = "MTLSPROXY_JOURNAL_RUN"   // the route of its records
)

// writeUntilKilled is the whole life of a child. It tells how many records it has added.
func writeUntilKilled(dir string) {
	l := Open(Options{Directory: dir, SegmentSize: 1 << 20})
	tr := newTraffic(1)
	tick := time.NewTicker(5 * time.Millisecond)
	var r Record
	for n := 0; ; {
		<-tick.C
		for range 100 {
			n++
			tr.next(&r)
			r.Route = os.Getenv(runVariable)
			l.Add(&r)
		}
		fmt.Println(n)
	}
}

// crash runs a child and kills it, and returns how many records it had added a second
// before.
func crash(t *testing.T, dir, route string, after time.Duration) (safe int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childVariable+"="+dir, runVariable+"="+route)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	type note struct {
		at time.Time
		n  int
	}
	var notes []note
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		notes = append(notes, note{time.Now(), n})
	}
	_ = c.Wait() // it was killed
	for _, n := range notes {
		if notes[len(notes)-1].at.Sub(n.at) > time.Second {
			safe = n.n
		}
	}
	return safe
}

func TestFaultKilledAtAnyTimeItLosesASecondAtMost(t *testing.T) {
	faults(t)
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	dir := t.TempDir()
	total := 0
	for run := range 100 {
		if run%10 == 0 {
			dir, total = t.TempDir(), 0
		}
		route := fmt.Sprintf("run-%d", run)
		safe := crash(t, dir, route, 50*time.Millisecond+time.Duration(rnd.IntN(1600))*time.Millisecond)
		l := open(t, Options{Directory: dir})
		found := query(t, l, Query{Filter: Filter{Route: []string{route}}})
		for i, r := range found {
			if want := fmt.Sprintf("7f3a90c1d2e4%012x", i+1); string(r.ID) != want {
				t.Fatalf("run %d: record %d is %s, want %s", run, i, r.ID, want)
			}
		}
		if len(found) < safe {
			t.Errorf("run %d: %d records of the %d that were a second old", run, len(found), safe)
		}
		total += len(found)
		if all := len(query(t, l, Query{})); all != total {
			t.Errorf("run %d: %d records of this and earlier runs, want %d", run, all, total)
			total = all
		}
		if q := l.Stats().Quarantined; len(q) > 0 {
			t.Errorf("run %d: put aside: %+v", run, q)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFaultDamagedPagesOfTwoHundredSeeds(t *testing.T) {
	faults(t)
	whole := sample(t, 30_000)
	t.Run("seeds", func(t *testing.T) {
		for seed := range uint64(200) {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "requests-00000001-0.db"), damage(whole, seed), 0o600); err != nil {
					t.Fatal(err)
				}
				serve(t, dir) // a panic would end the whole test
				serve(t, dir)
			})
		}
	})
}

// TestFaultDamageWhileItIsWritten scribbles over the file under bbolt's hands.
func TestFaultDamageWhileItIsWritten(t *testing.T) {
	faults(t)
	for seed := range uint64(30) {
		dir := t.TempDir()
		l := open(t, Options{Directory: dir})
		tr := newTraffic(seed)
		fill(t, l, tr, 5000)
		name := filepath.Join(dir, l.Stats().Segments[0].Name)
		rnd := rand.New(rand.NewPCG(seed, 0))
		if seed%3 == 0 {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, rnd.Int64N(info.Size())); err != nil {
				t.Fatal(err)
			}
		} else {
			scribble(t, name, seed)
		}
		for range 3 {
			fill(t, l, tr, 2000)
			_ = l.Query(t.Context(), Query{}, func(*Record) error { return nil }) // it may find damage
		}
		if got := query(t, l, Query{Newest: true, Limit: 1}); len(got) != 1 || string(got[0].ID) != fmt.Sprintf("7f3a90c1d2e4%012x", tr.n) {
			t.Errorf("seed %d: the newest record is not found", seed)
		}
		if s := l.Stats(); s.Err != "" {
			t.Errorf("seed %d: %s", seed, s.Err)
		}
		if err := l.Close(); err != nil && !strings.Contains(err.Error(), "damaged") {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func scribble(t *testing.T, name string, seed uint64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rnd := rand.New(rand.NewPCG(seed, 3))
	page := os.Getpagesize()
	for range 1 + rnd.IntN(6) {
		at := rnd.IntN(len(b)/page)*page + rnd.IntN(64)
		if _, err := f.WriteAt([]byte{byte(rnd.Uint32()), byte(rnd.Uint32())}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}
