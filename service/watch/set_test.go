package watch

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func TestSetKeepsWhatChangedBefore(t *testing.T) {
	run(t, newBench(t, "a", "b"), []string{"a"}, func(b *bench) {
		b.write("a", "x") // and its event is not there yet
		b.Set(b.paths("b", "a"), nil)
		b.after(300 * time.Millisecond)
		b.want([]string{"a"})
	})
}

func TestSetReportsWhatChangesAfterIt(t *testing.T) {
	run(t, newBench(t, "a", "b"), []string{"a"}, func(b *bench) {
		b.write("b", "x")
		b.Set(b.paths("b"), nil)
		b.write("b", "y")
		b.send("b", fsnotify.Write)
		b.after(300 * time.Millisecond)
		b.want([]string{"b"})
		b.write("a", "x")
		b.after(time.Hour)
		b.want() // it was let go
	})
}

func TestSetLosesNothingOverAReloadThatFails(t *testing.T) {
	run(t, newBench(t, "old", "new"), []string{"old"}, func(b *bench) {
		b.Set(b.paths("old", "new"), nil)
		b.write("old", "x")
		b.Set(b.paths("old"), nil)
		b.after(300 * time.Millisecond)
		b.want([]string{"old"})
	})
}

func TestSetDisarmsWhatIsNotNeeded(t *testing.T) {
	run(t, newBench(t, "one/a", "two/b"), []string{"one/a"}, func(b *bench) {
		b.Set(b.paths("two/b", "two/b"), nil)
		if got := b.kernel.watches(b.dir); !slices.Equal(got, []string{"", "/two"}) {
			t.Errorf("watches %q", got)
		}
		if s := b.State(); len(s.Paths) != 1 {
			t.Errorf("a path that was given twice is there %d times", len(s.Paths))
		}
	})
}

func TestChangedMayCallSet(t *testing.T) {
	b := newBench(t, "a", "b")
	run(t, b, []string{"a"}, func(b *bench) {
		called := 0
		b.opt.Changed = func([]string) { called++; b.Set(b.paths("b"), nil) }
		b.write("a", "x")
		b.send("a", fsnotify.Write)
		b.after(300 * time.Millisecond)
		if s := b.State(); called != 1 || s.Paths[0].Path != b.path("b") {
			t.Errorf("called %d times, watches %+v", called, s.Paths)
		}
	})
}

func TestADirectoryReportsTheFilesThatCount(t *testing.T) {
	steps := []struct {
		name    string
		do      func(b *bench)
		reports bool
		entries int
	}{
		{"it appears, empty", func(b *bench) { b.must(os.Mkdir(b.path("conf.d"), 0o755)) }, false, 0},
		{"a file", func(b *bench) { b.write("conf.d/a.toml", "1") }, true, 1},
		{"another", func(b *bench) { b.write("conf.d/b.toml", "1") }, true, 2},
		{"other bytes", func(b *bench) { b.write("conf.d/b.toml", "2") }, true, 2},
		{"one goes", func(b *bench) { b.must(os.Remove(b.path("conf.d/b.toml"))) }, true, 1},
		{"another name", func(b *bench) { b.must(os.Rename(b.path("conf.d/a.toml"), b.path("conf.d/z.toml"))) }, true, 1},
		{"a link", func(b *bench) { b.must(os.Symlink("../else", b.path("conf.d/l.toml"))) }, true, 2},
		{"what it leads to", func(b *bench) { b.write("else", "3") }, true, 2},
		{"a hidden file", func(b *bench) { b.write("conf.d/.a.toml", "1") }, false, 2},
		{"another suffix", func(b *bench) { b.write("conf.d/a.toml.bak", "1") }, false, 2},
		{"a directory", func(b *bench) { b.must(os.Mkdir(b.path("conf.d/x.toml"), 0o755)) }, false, 2},
		{"no longer a directory", func(b *bench) {
			b.must(os.RemoveAll(b.path("conf.d")))
			b.write("conf.d", "")
		}, true, 0},
	}
	run(t, newBench(t, "else"), nil, func(b *bench) {
		for _, s := range steps {
			s.do(b)
			b.send("conf.d", fsnotify.Chmod)
			b.after(300 * time.Millisecond)
			if got := b.state("conf.d").Entries; got != s.entries {
				t.Errorf("%s: %d entries, want %d", s.name, got, s.entries)
			}
			if s.reports {
				b.want([]string{"conf.d"})
			} else {
				b.want()
			}
			if t.Failed() {
				t.Fatalf("at: %s", s.name)
			}
		}
	}, Dir{Path: "conf.d", Suffix: ".toml"})
}

func TestANewFileInADirectoryIsNoticedByItsSuffix(t *testing.T) {
	run(t, newBench(t, "conf.d/a.toml"), nil, func(b *bench) {
		b.write("conf.d/new.toml", "1")
		b.send("conf.d/new.toml", fsnotify.Create)
		b.after(300 * time.Millisecond)
		b.want([]string{"conf.d"})
	}, Dir{Path: "conf.d", Suffix: ".toml"})
}
