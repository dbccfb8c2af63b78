package journal

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A frozen file system holds the writer in a system call; somebody must be able to tell
// that from a writer that is stuck in itself.
func TestStatsTellOfADiskThatDoesNotAnswer(t *testing.T) {
	l := Open(Options{Directory: t.TempDir()})
	if err := l.Close(); err != nil { // its own writer goes to the disk as well
		t.Fatal(err)
	}
	if s := l.Stats(); s.Err != "" {
		t.Fatalf("a log that is well says %q", s.Err)
	}
	w := &writer{l: l}
	done := w.disk()
	if s := l.Stats(); s.Err != "" {
		t.Errorf("after a moment it says %q", s.Err)
	}
	since := time.Now().Add(-2 * slowDisk)
	l.disk.Store(since.UnixNano())
	if s := l.Stats(); !strings.Contains(s.Err, "the disk has not answered since "+since.UTC().Format(time.RFC3339)) {
		t.Errorf("after long it says %q", s.Err)
	}
	w.disk()() // a step within
	if l.disk.Load() != since.UnixNano() {
		t.Error("a step within another ends that")
	}
	done()
	if s := l.Stats(); s.Err != "" {
		t.Errorf("after the answer it says %q", s.Err)
	}
}

func TestADiskThatDoesNotAnswerHasEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		w := &writer{l: &Log{o: Options{Directory: "/d", Log: slog.New(slog.NewTextHandler(&log, nil))}, buffer: &buffer{}}}
		w.disk()()
		time.Sleep(2 * slowDisk)
		synctest.Wait()
		if log.Len() > 0 {
			t.Errorf("of a disk that answers it says %s", &log)
		}
		done := w.disk()
		time.Sleep(2 * slowDisk)
		synctest.Wait()
		if !strings.Contains(log.String(), "event=log_failing directory=/d error=\"the disk has not answered since") || strings.Contains(log.String(), "log_healed") {
			t.Errorf("it says %s", &log)
		}
		done()
		if !strings.Contains(log.String(), "event=log_healed directory=/d") {
			t.Errorf("after the answer it says %s", &log)
		}
	})
}
