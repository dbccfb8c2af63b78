package journal

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const insideVariable = "MTLSPROXY_JOURNAL_INSIDE"

// private runs the test again in mount and user namespaces of its own, as their root. It
// reports true inside.
func private(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), insideVariable+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Skipf("SKIP it needs a mount namespace: %v", err)
	}
	err := c.Wait()
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	return false
}

func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFaultDiskFullForAMinute(t *testing.T) {
	faults(t)
	if !private(t) {
		return
	}
	disk := mountTmpfs(t, "16m")
	l := open(t, Options{Directory: filepath.Join(disk, "log"), Buffer: 1 << 20, flushAfter: flushAfter})
	tr := newTraffic(1)
	for range 10 {
		fill(t, l, tr, 1000)
	}
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	slowest := addFor(l, tr, time.Minute)
	s := l.Stats()
	if !strings.Contains(s.Err, "no space left") || s.Dropped == 0 {
		t.Errorf("after a minute: %d dropped, %q", s.Dropped, s.Err)
	}
	if slowest > 100*time.Millisecond {
		t.Errorf("a record took %v to add", slowest)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "it is written again", func() bool { s := l.Stats(); return s.Err == "" && s.Buffered == 0 })
	s = l.Stats()
	t.Logf("written again after %v; %d written, %d dropped, the slowest Add took %v", time.Since(began), s.Written, s.Dropped, slowest)
	got := query(t, l, Query{})
	if uint64(len(got)) != s.Written {
		t.Errorf("%d records are found, %d were written", len(got), s.Written)
	}
}

// addFor adds 5000 records a second and returns how long the slowest took.
func addFor(l *Log, tr *traffic, d time.Duration) (slowest time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var r Record
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		for range 5 {
			tr.next(&r)
			began := time.Now()
			l.Add(&r)
			slowest = max(slowest, time.Since(began))
		}
	}
	return slowest
}

func TestFaultReadOnlyDirectory(t *testing.T) {
	faults(t)
	if !private(t) {
		return
	}
	disk := mountTmpfs(t, "16m")
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Directory: filepath.Join(disk, "log")})
	eventually(t, "it is told", func() bool { return strings.Contains(l.Stats().Err, "read-only file system") })
	var r Record
	newTraffic(1).next(&r)
	l.Add(&r)
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is written", func() bool { return l.Stats().Written == 1 })
}

func TestAForeignFileIsPutAside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP giving files away needs root")
	}
	whole := sample(t, 100)
	dir := t.TempDir()
	name := filepath.Join(dir, "requests-00000001-0.db")
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(name, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	serve(t, dir)
	l := open(t, Options{Directory: dir})
	eventually(t, "it is named", func() bool {
		q := l.Stats().Quarantined
		return len(q) == 1 && strings.Contains(q[0].Why, "belongs to uid 12345")
	})
}

func TestASegmentLockedBySomebodyElseIsRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "requests-00000001-0.db")
	if err := os.WriteFile(name, sample(t, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := flock(f); err != nil {
		t.Fatal(err)
	}
	serve(t, dir)
	l := open(t, Options{Directory: dir})
	eventually(t, "the log is read", func() bool { return len(l.Stats().Segments) > 0 })
	if got := len(query(t, l, Query{})); got != 200 {
		t.Errorf("%d records", got)
	}
}
