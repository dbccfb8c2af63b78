package watch

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// breakOff has inotify refuse to open again and the one that is open die.
func breakOff(b *bench, err error) {
	b.work.Lock()
	b.open = func() (notifier, error) { return nil, err }
	b.work.Unlock()
	b.fail(errors.New("read failed"))
}

func TestWithoutInotifyFilesArePolled(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		b.after(31 * time.Second) // long enough after the start to open it anew at once
		breakOff(b, syscall.EMFILE)
		b.after(300 * time.Millisecond)
		b.wantHow("a", Polling, "fs.inotify.max_user_instances")

		b.write("a", "b")
		b.after(time.Minute + 300*time.Millisecond)
		b.want([]string{"a"})
		if n := strings.Count(b.log.String(), "polling only"); n != 1 {
			t.Errorf("said %d times that files are polled, want once:\n%s", n, b.log.String())
		}

		again := newKernel()
		b.work.Lock()
		b.kernel = again
		b.open = func() (notifier, error) { return again, nil }
		b.work.Unlock()
		b.after(time.Minute)
		b.wantHow("a", Inotify, "")
		if !strings.Contains(b.log.String(), "inotify again") {
			t.Errorf("did not say that inotify works again:\n%s", b.log.String())
		}
		b.write("a", "c")
		b.send("a", fsnotify.Write)
		b.after(300 * time.Millisecond)
		b.want([]string{"a"})
	})
}

func TestAWatcherStartsWithoutInotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "a")
		none := func() (notifier, error) { return nil, syscall.ENOSYS }
		b.Watcher = start(Options{Files: b.paths("a")}, none, remoteFS, nil)
		defer b.Close()
		b.wantHow("a", Polling, syscall.ENOSYS.Error())
	})
}

func TestASourceThatDiesIsReplacedAtOnce(t *testing.T) {
	for name, die := range map[string]func(b *bench){
		"error":         func(b *bench) { b.fail(errors.New("read failed")) },
		"events closed": func(b *bench) { close(b.kernel.events) },
		"errors closed": func(b *bench) { close(b.kernel.errors) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
				b.after(time.Minute)
				dead, alive := b.kernel, newKernel()
				b.work.Lock()
				b.open = func() (notifier, error) { return alive, nil }
				b.work.Unlock()
				die(b)
				b.write("a", "b") // while nobody listens
				b.after(300 * time.Millisecond)
				b.want([]string{"a"})
				b.wantHow("a", Inotify, "")
				if !dead.closed || len(alive.watches(b.dir)) == 0 {
					t.Errorf("the dead source is closed: %t, the new one watches %q", dead.closed, alive.watches(b.dir))
				}
			})
		})
	}
}

func TestASourceThatKeepsDyingIsNotOpenedOverAndOver(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		opened := 0
		b.work.Lock()
		b.open = func() (notifier, error) {
			opened++
			k := newKernel()
			close(k.events)
			return k, nil
		}
		b.work.Unlock()
		close(b.kernel.events)
		b.after(10 * time.Minute)
		if opened < 5 || opened > 20 {
			t.Errorf("opened %d times in ten minutes", opened)
		}
	})
}

func TestADirectoryThatMayNotBeReadIsPolled(t *testing.T) {
	b := newBench(t, "open/a", "private/b")
	b.deny, b.why = "private", syscall.EACCES
	run(t, b, []string{"open/a", "private/b"}, func(b *bench) {
		b.wantHow("open/a", Inotify, "")
		b.wantHow("private/b", Polling, `no permission to read directory "`+b.path("private"))
		b.write("private/b", "new")
		b.after(time.Minute)
		b.want() // it may be in the middle of it
		b.after(300 * time.Millisecond)
		b.want([]string{"private/b"})

		b.kernel.set(b.path("private"), nil)
		b.after(time.Minute)
		b.wantHow("private/b", Inotify, "")
	})
}

func TestTheLimitOfWatchesIsNamed(t *testing.T) {
	b := newBench(t, "a")
	b.deny, b.why = ".", syscall.ENOSPC
	run(t, b, []string{"a"}, func(b *bench) {
		b.wantHow("a", Polling, "fs.inotify.max_user_watches")
	})
}

func TestARemoteFileSystemIsPolledToo(t *testing.T) {
	b := newBench(t, "a")
	run(t, b, []string{"a"}, func(b *bench) {
		b.work.Lock()
		b.arms.remote = func(dir string) string {
			if dir == b.dir {
				return "NFS"
			}
			return ""
		}
		b.work.Unlock()
		b.after(time.Minute)
		b.wantHow("a", Polling, "NFS")
		b.write("a", "b")
		b.after(time.Minute + 300*time.Millisecond)
		b.want([]string{"a"})
	})
}

func TestWhatThePollFindsIsReportedWhenItHasSettled(t *testing.T) {
	b := newBench(t, "ca", "crt", "key")
	b.deny, b.why = ".", syscall.EACCES
	run(t, b, []string{"ca", "crt", "key"}, func(b *bench) {
		b.after(59 * time.Second)
		b.write("crt", "new")
		b.after(1200 * time.Millisecond) // the poll has found the certificate
		b.write("key", "new")
		b.after(300 * time.Millisecond) // and the key as well
		b.write("ca", "new")
		b.after(time.Second)
		b.want([]string{"ca", "crt", "key"})
	})
}

func TestAPolledFileThatNeverSettlesIsReportedAfterTwoSeconds(t *testing.T) {
	b := newBench(t, "a")
	b.deny, b.why = ".", syscall.EACCES
	run(t, b, []string{"a"}, func(b *bench) {
		b.after(59 * time.Second)
		for range 30 { // for 3 s, of which the poll sees the last 2
			b.write("a", time.Now().String())
			b.after(100 * time.Millisecond)
		}
		b.want([]string{"a"})
	})
}

func TestThePollFindsWhatInotifyDidNotTell(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		b.write("a", "b")
		b.after(time.Minute + 300*time.Millisecond)
		b.want([]string{"a"})
	})
}

func TestAnOverflowLooksAtEverything(t *testing.T) {
	run(t, newBench(t, "a", "b"), []string{"a", "b"}, func(b *bench) {
		b.write("a", "x")
		b.write("b", "x")
		b.fail(fsnotify.ErrEventOverflow)
		b.after(300 * time.Millisecond)
		b.want([]string{"a", "b"})
		if n := b.State().Overflows; n != 1 {
			t.Errorf("%d overflows, want 1", n)
		}
		b.fail(fsnotify.ErrEventOverflow)
		b.after(300 * time.Millisecond)
		if n := strings.Count(b.log.String(), "lost events"); n != 1 {
			t.Errorf("said %d times that events were lost, want once", n)
		}
		if b.kernel.closed || b.kernel.adds[b.dir] != 3 {
			t.Errorf("over two overflows the directory was armed %d times, want 3, with the source open", b.kernel.adds[b.dir])
		}
	})
}

func TestAWatchThatIsGoneIsPutBack(t *testing.T) {
	for name, lose := range map[string]func(b *bench){
		"moved":                   func(b *bench) { b.send("tls", fsnotify.Rename) },
		"removed":                 func(b *bench) { b.send("tls", fsnotify.Remove) },
		"gone before it was off":  func(b *bench) { b.fail(syscall.EINVAL) },
		"without being told":      func(b *bench) { b.after(time.Minute) },
		"another directory in it": func(b *bench) { swap(b); b.send("tls", fsnotify.Create) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, newBench(t, "tls/a"), []string{"tls/a"}, func(b *bench) {
				b.must(b.kernel.Remove(b.path("tls")))
				lose(b)
				b.after(300 * time.Millisecond)
				if got := b.kernel.watches(b.dir); !slices.Contains(got, "/tls") {
					t.Errorf("watches %q, without /tls", got)
				}
			})
		})
	}
}

// swap puts another directory in the place of tls.
func swap(b *bench) {
	b.write("new/a", "a")
	b.must(os.Rename(b.path("tls"), b.path("old")))
	b.must(os.Rename(b.path("new"), b.path("tls")))
}

func TestADirectoryThatSendsTooManyEventsIsPolledForAWhile(t *testing.T) {
	run(t, newBench(t, "a"), []string{"a"}, func(b *bench) {
		for range maxNoise + 1 {
			b.kernel.events <- fsnotify.Event{Name: b.path("other"), Op: fsnotify.Write}
		}
		b.after(300 * time.Millisecond)
		b.wantHow("a", Polling, "too many events")
		if got := b.kernel.watches(b.dir); len(got) != 0 {
			t.Errorf("still watches %q", got)
		}
		b.after(time.Minute)
		b.wantHow("a", Inotify, "")
	})
}

func TestALinkThatTurnsWhileItIsArmedIsFollowed(t *testing.T) {
	b := newBench(t, "one/a", "two/a")
	b.must(os.Symlink("one", b.path("current")))
	b.onAdd = func(dir string) {
		if dir == b.path("one") {
			b.must(os.Remove(b.path("current")))
			b.must(os.Symlink("two", b.path("current")))
		}
	}
	run(t, b, []string{"current/a"}, func(b *bench) {
		if got := b.kernel.watches(b.dir); !slices.Equal(got, []string{"", "/two"}) {
			t.Errorf("watches %q", got)
		}
	})
}

func TestAShortageOfDescriptorsIsNoChange(t *testing.T) {
	run(t, newBench(t, "a", "conf.d/b"), []string{"a"}, func(b *bench) {
		var limit syscall.Rlimit
		b.must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
		defer func() { b.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }()
		b.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: limit.Max}))
		b.after(time.Hour)
		for _, name := range []string{"a", "conf.d"} {
			if e := b.state(name).Error; !strings.Contains(e, "too many open files") {
				t.Errorf("%s: error %q", name, e)
			}
		}
		b.must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
		b.after(time.Hour)
		b.want()
		if e := b.state("a").Error; e != "" {
			t.Errorf("error %q after it is over", e)
		}
	}, Dir{Path: "conf.d"})
}
