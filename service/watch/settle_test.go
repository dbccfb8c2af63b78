package watch

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func TestAChangeIsReportedOnceItHasBeenQuiet(t *testing.T) {
	run(t, newBench(t, "a", "b"), []string{"a", "b"}, func(b *bench) {
		b.write("a", "new")
		b.send("a", fsnotify.Write)
		b.after(200 * time.Millisecond)
		b.write("b", "new")
		b.send("b", fsnotify.Write)
		b.after(299 * time.Millisecond)
		b.want()
		b.after(time.Millisecond)
		b.want([]string{"a", "b"})
		b.after(time.Hour)
		b.want()
		if s := b.State(); s.Changes != 2 || s.LastChange.IsZero() || b.state("a").LastChange != s.LastChange {
			t.Errorf("state after two changes: %+v", s)
		}
	})
}

func TestAChangeIsPutOffForTwoSecondsAtMost(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		for i := range 500 { // for 5 s
			b.write("a", strconv.Itoa(i))
			b.send("a", fsnotify.Write)
			b.after(10 * time.Millisecond)
		}
		b.want([]string{"a"}, []string{"a"})
		b.after(300 * time.Millisecond)
		b.want([]string{"a"})
	})
}

func TestWhatEndsAsItWasIsNoChange(t *testing.T) {
	for name, disturb := range map[string]func(b *bench){
		"gone and back": func(b *bench) {
			b.must(os.Remove(b.path("a")))
			b.send("a", fsnotify.Remove)
			b.after(100 * time.Millisecond)
			b.write("a", "a")
		},
		"other bytes and back": func(b *bench) {
			b.write("a", "x")
			b.send("a", fsnotify.Write)
			b.after(100 * time.Millisecond)
			b.write("a", "a")
		},
		"equal bytes in a new file": func(b *bench) {
			b.write("tmp", "a")
			b.must(os.Rename(b.path("tmp"), b.path("a")))
		},
		"another time of modification": func(b *bench) {
			b.must(os.Chtimes(b.path("a"), time.Unix(1, 0), time.Unix(1, 0)))
		},
		"mode and back": func(b *bench) {
			b.must(os.Chmod(b.path("a"), 0o644))
			b.send("a", fsnotify.Chmod)
			b.must(os.Chmod(b.path("a"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
				disturb(b)
				b.send("a", fsnotify.Create)
				b.after(time.Hour)
				b.want()
			})
		})
	}
}

func TestEverythingThatCountsIsAChange(t *testing.T) {
	for name, change := range map[string]func(b *bench){
		"bytes":   func(b *bench) { b.write("a", "b") },
		"mode":    func(b *bench) { b.must(os.Chmod(b.path("a"), 0o640)) },
		"missing": func(b *bench) { b.must(os.Remove(b.path("a"))) },
		"a directory in its place": func(b *bench) {
			b.must(os.Remove(b.path("a")))
			b.must(os.Mkdir(b.path("a"), 0o700))
		},
		"a link that leads nowhere": func(b *bench) {
			b.must(os.Remove(b.path("a")))
			b.must(os.Symlink("nowhere", b.path("a")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
				change(b)
				b.send("a", fsnotify.Chmod)
				b.after(300 * time.Millisecond)
				b.want([]string{"a"})
			})
		})
	}
}

func TestAMissingFileThatAppearsIsAChange(t *testing.T) {
	run(t, newBench(t), []string{"a"}, func(b *bench) {
		if e := b.state("a").Error; e == "" {
			t.Error("the state of a missing file has no error")
		}
		b.write("a", "a")
		b.send("a", fsnotify.Create)
		b.after(300 * time.Millisecond)
		b.want([]string{"a"})
		if e := b.state("a").Error; e != "" {
			t.Errorf("the state of the file has the error %q", e)
		}
	})
}

func TestNeighboursAreNoReasonToLook(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		before := b.State().Looks
		b.write("b", "b")
		b.send("b", fsnotify.Create)
		b.after(59 * time.Second)
		if now := b.State().Looks; now != before {
			t.Errorf("looked %d times because of a neighbour", now-before)
		}
		b.want()
	})
}

func TestNothingIsReportedAfterClose(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		b.write("a", "b")
		b.send("a", fsnotify.Write)
		b.Close()
		b.Close()
		b.after(time.Hour)
		looks := b.State().Looks
		b.Set(b.paths("a"), nil)
		b.after(time.Hour)
		b.want()
		if b.State().Looks != looks {
			t.Error("Set after Close looks at the files again")
		}
		if !b.kernel.closed {
			t.Error("the source is still open")
		}
	})
}
