package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// self is this test binary, which can be mtlsproxyctl.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// coverage is where a binary built with -cover leaves what it saw.
func coverage(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// command is mtlsproxyctl as a process of its own, not started yet.
func command(t *testing.T, d *daemon, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self(t), args...)
	cmd.Env = []string{asControl + "=1", "MTLSPROXY_ADMIN_SOCKET=" + d.socket, "GOCOVERDIR=" + coverage(t), "TERM=xterm-256color", "TZ=UTC",
		"GORACE=atexit_sleep_ms=0"} // or else the race detector waits a second
	return cmd
}

func TestProcessExitCodes(t *testing.T) {
	d := newDaemon(t)
	for args, want := range map[string]int{
		"level": exitOK, "status": exitOK, "drain": exitUsage, "level --socket /none": exitNotRunning, "certs show none": exitFailed, "--help": exitOK, "--version": exitOK,
	} {
		cmd := command(t, d, strings.Fields(args)...)
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit code %d, want %d", args, got, want)
		}
	}
}

func TestProcessEndsWithCtrlC(t *testing.T) {
	f := func(path, args string, want int) {
		t.Helper()
		d := newDaemon(t)
		answer, asked := hang(t, "\n")
		d.says(path, answer)
		cmd := command(t, d, strings.Fields(args)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-asked
		start := time.Now()
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // its state is looked at
		if got := cmd.ProcessState.ExitCode(); got != want || stderr.Len() > 0 || time.Since(start) > 5*time.Second {
			t.Errorf("%s: exit code %d after %v, want %d at once; stderr: %s", args, got, time.Since(start), want, &stderr)
		}
	}
	f("GET /v1/log/tail", "log tail", exitOK)
	f("GET /v1/events", "events --follow", exitOK)
	f("GET /v1/status", "status", exitInterrupted)
}

func TestProcessIsQuietWhenItsReaderIsGone(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/log/records", func(w http.ResponseWriter, r *http.Request) {
		for range 20000 {
			lines(cannedRecords())(w, r)
		}
	})
	for _, args := range []string{"log --all", "log export", "log --all --json"} {
		cmd := command(t, d, strings.Fields(args)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		out.Close()
		_ = cmd.Wait() // its state is looked at
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if stderr.Len() > 0 || !(status.Signaled() && status.Signal() == syscall.SIGPIPE) && status.ExitStatus() != 0 {
			t.Errorf("%s: %v; stderr: %s", args, cmd.ProcessState, &stderr)
		}
	}
}

// TestProcessOfSomebodyWhoMayNotConnect runs as a user that the socket is closed to.
func TestProcessOfSomebodyWhoMayNotConnect(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root can be somebody else")
	}
	const nobody = 65534
	d := newDaemon(t)
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// The test binary stands where only root can look.
	binary, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "mtlsproxyctl")
	if err := errors.Join(os.WriteFile(copied, binary, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, d, "status")
	cmd.Path, cmd.Args[0] = copied, copied
	cmd.Env = append(cmd.Env, "GOCOVERDIR=")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		t.Skip("SKIP: this process may not start another under uid 65534: ", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != exitNotPermitted || !strings.Contains(stderr.String(), "(uid 65534) may not connect to "+d.socket+"\nhint: use sudo, or join the group mtlsproxy-admin (sudo usermod -aG mtlsproxy-admin ") {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
}

// newTerminal returns both ends of a terminal of a size.
func newTerminal(t *testing.T, width, height uint16) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("SKIP: there are no terminals here: ", err)
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("SKIP: there are no terminals here: ", err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("SKIP: there are no terminals here: ", err)
	}
	if err := unix.IoctlSetWinsize(int(far.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestProcessTopOnATerminal(t *testing.T) {
	d := newDaemon(t)
	near, far := newTerminal(t, 80, 24)
	cmd := command(t, d, "top", "--interval=100ms")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	far.Close()
	var seen lockedBuffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&seen, near) // ends with an error when the other end is closed
	}()
	press := func(key, until string) {
		t.Helper()
		if _, err := io.WriteString(near, key); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); !strings.Contains(seen.String(), until); <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q never came: %q", until, seen.String())
			}
		}
	}
	press("", "REQ/S↓")
	press("?", "shift+tab")
	press("q", "")
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%v: %q", err, seen.String())
		}
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatal("q does not quit")
	}
	near.Close()
	<-read
	if out := seen.String(); !strings.Contains(out, "\x1b[?1049h") || !strings.Contains(out, "\x1b[?1049l") {
		t.Errorf("the terminal is not left as it was: %q", out)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
