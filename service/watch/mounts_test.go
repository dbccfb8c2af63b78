package watch

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inItsOwnMounts runs the test once more where what it mounts is seen by nobody else, and
// reports whether it is there already.
func inItsOwnMounts(t *testing.T) bool {
	t.Helper()
	const mark = "MTLSPROXY_TEST_OWN_MOUNTS"
	if os.Getenv(mark) != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal("making the mounts private: ", err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root may mount")
	}
	probe := exec.CommandContext(t.Context(), "true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if err := probe.Run(); err != nil {
		t.Skip("SKIP: no mount namespace can be made: ", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), mark+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a mount namespace of its own: %v\n%s", err, out)
	}
	return false
}

func TestMountOverADirectoryIsSeen(t *testing.T) {
	if !inItsOwnMounts(t) {
		return
	}
	b := newBench(t, "tls/a")
	l := watchLive(t, b, []string{"tls/a"})

	b.must(syscall.Mount("none", b.path("tls"), "tmpfs", 0, ""))
	l.wantReport("tls/a")
	if e := b.state("tls/a").Error; e == "" {
		t.Error("the file below can still be read")
	}
	b.wantHow("tls/a", Inotify, "")

	b.write("tls/a", "above") // the directory that is seen now is watched as well
	l.wantReport("tls/a")
	l.wantContent("tls/a", "above")

	b.must(syscall.Unmount(b.path("tls"), syscall.MNT_DETACH))
	l.wantReport("tls/a")
	l.wantContent("tls/a", "tls/a")
	b.wantHow("tls/a", Inotify, "")
}

// A directory on the way counts as the one with the file in it does.
func TestMountOverADirectoryOnTheWayIsSeen(t *testing.T) {
	if !inItsOwnMounts(t) {
		return
	}
	b := newBench(t, "one/tls/a", "two/tls/a")
	l := watchLive(t, b, []string{"one/tls/a"})
	b.must(syscall.Mount(b.path("two"), b.path("one"), "", syscall.MS_BIND, ""))
	l.wantReport("one/tls/a")
	l.wantContent("one/tls/a", "two/tls/a")
	b.must(syscall.Unmount(b.path("one"), syscall.MNT_DETACH))
	l.wantReport("one/tls/a")
	l.wantContent("one/tls/a", "one/tls/a")
}
