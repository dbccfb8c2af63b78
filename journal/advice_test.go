package journal

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody runs f with the rights of a user whose files there are none of.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f() // whoever runs this may not read what nobody may
		return
	}
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the thread goes with the goroutine
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			done <- err
			return
		}
		if now, err := unix.SetfsuidRetUid(-1); err != nil || now != 65534 {
			t.Errorf("this thread is uid %d, %v", now, err)
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// openTo lets everybody enter the directories up to dir.
func openTo(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func wantAdvice(t *testing.T, err error, want, not string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || not != "" && strings.Contains(err.Error(), not) {
		t.Errorf("got %v, want %q in it and not %q", err, want, not)
	}
}

func TestADirectoryThatTheSandboxMakesReadOnlyNamesTheOption(t *testing.T) {
	readOnly := fmt.Errorf("making the directory: %w", syscall.EROFS)
	o := Options{Directory: "/srv/log", Systemd: true}
	wantAdvice(t, o.advise(readOnly), "add ReadWritePaths=/srv/log to the unit", "LogsDirectory=")
	o.Directory = "/var/log/mtlsproxy/requests"
	wantAdvice(t, o.advise(readOnly), "add LogsDirectory=mtlsproxy/requests to the unit", "ReadWritePaths=")
	o.Systemd = false
	wantAdvice(t, o.advise(readOnly), "is mounted read-only: mount it writable", "unit")
}

func TestADirectoryThatMayNotBeMadeOrWrittenNamesUserAndCommand(t *testing.T) {
	top := t.TempDir()
	openTo(t, top)
	if os.Geteuid() != 0 {
		if err := os.Chmod(top, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		filepath.Join(top, "log"): "install -d -m 0700 -o " + me() + " " + filepath.Join(top, "log"),
		top:                       "mtlsproxyd runs as user " + me() + ": give it to them, with: chown -R " + me() + ": " + top,
	} {
		s := newStore(t, dir)
		var err error
		asNobody(t, func() { err = s.open() })
		wantAdvice(t, (&Options{Directory: dir}).advise(err), want, "")
	}
}

func TestAFullDiskIsNoMatterOfPermissions(t *testing.T) {
	if !private(t) {
		return
	}
	dir := mountTmpfs(t, "64k")
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 64<<10), 0o600); err == nil {
		// One page goes to the directory itself, or none: the next file finds out.
		_ = os.WriteFile(filepath.Join(dir, "more"), make([]byte, 64<<10), 0o600)
	}
	l := open(t, Options{Directory: filepath.Join(dir, "log")})
	var r Record
	newTraffic(1).next(&r)
	l.Add(&r)
	eventually(t, "the log says that it cannot be written", func() bool { return l.Stats().Err != "" })
	wantAdvice(t, fmt.Errorf("%s", l.Stats().Err), "no space left on device; make room on the file system of "+dir, "writable for")
}

// Whoever has copied the files of a log as root leaves such ones behind.
func TestASegmentThatMayNotBeOpenedIsKeptAndToldAndReadOnceItMay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := open(t, Options{Directory: dir})
	fill(t, l, newTraffic(1), 100)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	openTo(t, dir)
	name := l.Stats().Segments[0].Name
	path := filepath.Join(dir, name)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for _, own := range []string{dir, filepath.Join(dir, lockName)} {
			if err := os.Chown(own, 65534, -1); err != nil {
				t.Skip("SKIP this user namespace has no uid 65534: ", err)
			}
		}
	}
	var log strings.Builder
	s := newStore(t, dir)
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	asNobody(t, func() {
		if err := s.open(); err != nil {
			t.Error(err)
		}
		s.lookAgain()
	})
	defer s.close()
	if len(s.segments) != 1 || len(s.quarantined) != 0 || !exists(path) {
		t.Fatalf("segments %v, put aside %v, there: %v", s.segments, s.quarantined, exists(path))
	}
	wantAdvice(t, fmt.Errorf("%s", s.segments[0].problem), "permission denied; mtlsproxyd runs as user "+me()+": give it to them, with: chown "+me()+": "+path, "")
	if n := strings.Count(log.String(), "event=log_unreadable"); n != 1 {
		t.Errorf("it was logged %d times, want once: %s", n, &log)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s.lookAgain()
	if seg := s.segments[0]; seg.problem != "" || seg.records != 100 {
		t.Errorf("once it may be opened: %d records, problem %q", seg.records, seg.problem)
	}
}
