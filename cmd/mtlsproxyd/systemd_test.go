package main

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// fdStore is a service manager that keeps what it is given.
type fdStore struct {
	path  string
	kept  chan *os.File // one for each FDSTORE=1
	ready chan struct{} // one for each READY=1
	drops chan struct{} // one for each FDSTOREREMOVE=1
}

func newFDStore(t *testing.T) *fdStore {
	t.Helper()
	s := &fdStore{path: filepath.Join(t.TempDir(), "n"), kept: make(chan *os.File, 8), ready: make(chan struct{}, 8), drops: make(chan struct{}, 8)}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s.receive(c) {
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	return s
}

func (s *fdStore) receive(c *net.UnixConn) bool {
	text, oob := make([]byte, 4096), make([]byte, 1024)
	n, oobn, _, _, err := c.ReadMsgUnix(text, oob)
	if err != nil {
		return false
	}
	messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			f := os.NewFile(uintptr(fd), "passed")
			if strings.HasPrefix(string(text[:n]), "FDSTORE=1") {
				s.kept <- f
			} else {
				f.Close()
			}
		}
	}
	switch first, _, _ := strings.Cut(string(text[:n]), "\n"); first {
	case "READY=1":
		s.ready <- struct{}{}
	case "FDSTOREREMOVE=1":
		s.drops <- struct{}{}
	}
	return true
}

// wait takes one of what is told.
func wait[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("waiting for %s", what)
	}
	return v
}

// passing is a daemon that gets the sockets as systemd would pass them.
func passing(t *testing.T, s *fdStore, config string, names string, sockets ...*os.File) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "mtlsproxy.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	inner := command(t, dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, exe, "--config", path, "--set", "admin.address=none")
	cmd.Env = append(inner.Env, "NOTIFY_SOCKET="+s.path, "LISTEN_FDNAMES="+names, "LISTEN_FDS="+string(rune('0'+len(sockets))))
	cmd.ExtraFiles = sockets
	var out lockedBuffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // likewise
		if t.Failed() {
			t.Logf("output of the daemon:\n%s", out.String())
		}
	})
	return cmd
}

// A restart with a broken configuration, which somebody mends a minute later.
func TestClientsOutliveAStartThatFails(t *testing.T) {
	leak.Check(t)
	s := newFDStore(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	listening, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	// What the process before has done.
	notify, err := sd.New(func(string) string { return s.path }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if left, err := notify.Store(t.Context(), sd.Client{Listener: "http", Conn: accepted}); err != nil || len(left) > 0 {
		t.Fatal(err)
	}
	accepted.Close()
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}

	parcel := wait(t, "the first parcel", s.kept)
	broken := passing(t, s, "nonsense = true\n", "http:clients", listening, parcel)
	if err := broken.Wait(); err == nil || broken.ProcessState.ExitCode() != 78 {
		t.Errorf("with a broken configuration it ends with %v, want exit status 78", err)
	}
	parcel.Close()
	wait(t, "the removal of the old parcel", s.drops)
	parcel = wait(t, "the parcel of the process that failed", s.kept)
	defer parcel.Close()

	passing(t, s, "", "http:clients", listening, parcel)
	wait(t, "readiness", s.ready)
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatalf("the client that waited sees %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable { // there is no route
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAStrangeServiceManagerIsNoReasonToEnd(t *testing.T) {
	leak.Check(t)
	dir := identity(t)
	cmd := command(t, dir, oneUpstream("--listen", filepath.Join(dir, "http.sock"))...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET=vsock:2:1234", "WATCHDOG_USEC=often")
	d := launch(t, cmd)
	d.said(t, "vsock address")
	d.said(t, "WATCHDOG_USEC=")
	d.signal(t, os.Interrupt)
	if code := d.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// From the moment at which the connections of the process before are out of the fd store,
// they live and die with this one. Signals come at any time: a reload or a restart that
// somebody asks for in the midst of a start.
func TestASignalAtTheStartLosesNoConnectionThatWasHandedOver(t *testing.T) {
	leak.Check(t)
	s := newFDStore(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer client.Close()
	accepted, err := l.Accept()
	must(t, err)
	listening, err := l.(*net.TCPListener).File()
	must(t, err)
	defer listening.Close()
	notify, err := sd.New(func(string) string { return s.path }, slog.New(slog.DiscardHandler))
	must(t, err)
	left, err := notify.Store(t.Context(), sd.Client{Listener: "http", Conn: accepted})
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	accepted.Close()
	parcel := wait(t, "the first parcel", s.kept)
	for range 5 { // the moment is short
		cmd := passing(t, s, "nonsense = true\n", "http:clients", listening, parcel)
		emptied(t, parcel)
		must(t, cmd.Process.Signal(unix.SIGHUP))
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 78 {
			t.Fatalf("with a broken configuration it ends with %v, want exit status 78", err)
		}
		parcel.Close()
		wait(t, "the removal of the old parcel", s.drops)
		parcel = wait(t, "the parcel of the process that failed", s.kept)
	}
	parcel.Close()
}

// emptied returns as soon as another process has taken what is in the parcel.
func emptied(t *testing.T, parcel *os.File) {
	t.Helper()
	raw, err := parcel.SyscallConn()
	must(t, err)
	for end := time.Now().Add(10 * time.Second); ; {
		waiting := 0
		must(t, raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }))
		must(t, err)
		if waiting == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("nobody takes the parcel")
		}
	}
}
