package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// daemon is a process of its own.
type daemon struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed once it has
	output lockedBuffer
	addr   string // of its listener
}

// command is the daemon's, not started yet.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = dir
	coverage := os.Getenv("GOCOVERDIR") // where a binary built with -cover leaves what it saw
	if coverage == "" {
		coverage = t.TempDir()
	}
	own := t.TempDir() // not where a daemon of this user would have them
	cmd.Env = []string{asDaemon + "=1", "GOCOVERDIR=" + coverage, "STATE_DIRECTORY=" + own, "RUNTIME_DIRECTORY=" + own}
	return cmd
}

// start returns once the daemon serves.
func start(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	return launch(t, command(t, dir, args...))
}

// launch starts a command and returns once it serves.
func launch(t *testing.T, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stdout = &d.output
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		if t.Failed() {
			t.Logf("output of the daemon:\n%s", d.output.String())
		}
	})
	running := make(chan string, 1)
	go func() {
		defer close(d.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			_, _ = d.output.Write(append(lines.Bytes(), '\n'))
			if m := regexp.MustCompile(`msg=running listeners=\[(\S+)\]`).FindStringSubmatch(lines.Text()); m != nil {
				running <- m[1]
			}
		}
		_ = d.cmd.Wait() // its state is looked at by the test
	}()
	select {
	case d.addr = <-running:
	case <-d.ended:
		t.Fatal("the daemon ended before it was running")
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon is not running after 20 s")
	}
	return d
}

func (d *daemon) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// said waits until the daemon has logged text.
func (d *daemon) said(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		if strings.Contains(d.output.String(), text) {
			return
		}
	}
	t.Fatalf("the daemon never said %q", text)
}

// wait returns the exit code.
func (d *daemon) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon does not end")
	}
	return d.cmd.ProcessState.ExitCode()
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

// blocking is an upstream that begins its answers and ends them on demand, and the
// flags to reach it.
func blocking(t *testing.T) (dir string, flags []string, release func()) {
	t.Helper()
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	more := make(chan struct{})
	release = sync.OnceFunc(func() { close(more) })
	u := tlstest.NewHTTPServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "ended\n")
	}))
	t.Cleanup(release)
	dir = t.TempDir()
	ca.Client(t, "client").WriteFiles(t, dir, ca)
	return dir, []string{"--listen", "127.0.0.1:0", "--upstream", u.URL, "--cert", "client.crt", "--key", "client.key", "--ca", "ca.crt"}, release
}

// begin sends a request and returns once its answer has begun.
func begin(t *testing.T, d *daemon) *bufio.Reader {
	t.Helper()
	resp, err := (&http.Client{Transport: new(http.Transport)}).Get("http://" + d.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "begun\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	return body
}

func TestSIGTERMLetsARequestFinish(t *testing.T) {
	leak.Check(t)
	dir, flags, release := blocking(t)
	d := start(t, dir, flags...)
	body := begin(t, d)
	d.signal(t, syscall.SIGTERM)
	d.said(t, "msg=draining signal=terminated connections=1")
	if c, err := net.Dial("tcp", d.addr); err == nil {
		c.Close()
		t.Error("it still accepts connections while it drains")
	}
	release()
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "ended\n" {
		t.Errorf("the rest of the answer is %q, %v", rest, err)
	}
	if code := d.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestSIGHUPReloadsAndEndsNothing(t *testing.T) {
	leak.Check(t)
	dir, flags, release := blocking(t)
	d := start(t, dir, flags...)
	body := begin(t, d)
	d.signal(t, syscall.SIGHUP)
	d.said(t, "msg=running reloaded=true")
	release()
	if rest, err := io.ReadAll(body); err != nil || string(rest) != "ended\n" {
		t.Errorf("the rest of the answer is %q, %v", rest, err)
	}
}

// The units ignore SIGHUP until the program asks for it, which it does before it reads the configuration.
func TestASIGHUPFromBeforeTheProgramRanDoesNotKeepItFromReloading(t *testing.T) {
	leak.Check(t)
	if err := exec.Command("env", "--ignore-signal=HUP", "true").Run(); err != nil {
		t.Skip("SKIP: env cannot ignore signals: ", err)
	}
	exe, err := os.Executable()
	must(t, err)
	cmd := command(t, identity(t), oneUpstream("--listen", "127.0.0.1:0")...)
	cmd.Args[0] = exe // in a shell, /proc/self/exe is the shell
	early := exec.Command("env", append([]string{"--block-signal=USR2", "--ignore-signal=HUP", "sh", "-c", `kill -HUP $$; exec "$0" "$@"`}, cmd.Args...)...)
	early.Dir, early.Env = cmd.Dir, cmd.Env
	d := launch(t, early)
	d.signal(t, syscall.SIGHUP)
	d.said(t, "msg=running reloaded=true")
}

// The daemon logs each upstream that cannot be reached; nobody need read it.
func TestDaemonOutlivesTheReaderOfItsLog(t *testing.T) {
	leak.Check(t)
	dir := identity(t)
	path := filepath.Join(dir, "http.sock")
	cmd := command(t, dir, "--listen", path, "--upstream", "https://127.0.0.1:1", "--cert", "client.crt", "--key", "client.key", "--ca", "ca.crt")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	for lines := bufio.NewScanner(reader); ; {
		if !lines.Scan() {
			t.Fatal("the log ends before it is running")
		}
		if strings.Contains(lines.Text(), "msg=running") {
			break
		}
	}
	reader.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Get("http://localhost/")
		if err != nil {
			t.Fatalf("it does not answer any more: %v", err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadGateway {
			t.Errorf("got %d, want %d", resp.StatusCode, http.StatusBadGateway)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestTheSecondSignalCutsARequestOff(t *testing.T) {
	leak.Check(t)
	dir, flags, _ := blocking(t)
	d := start(t, dir, flags...)
	body := begin(t, d)
	d.signal(t, syscall.SIGTERM)
	d.said(t, "msg=draining")
	d.signal(t, syscall.SIGINT)
	if rest, err := io.ReadAll(body); err == nil {
		t.Errorf("an answer that was cut off looks complete, with %q", rest)
	}
	if code := d.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d.said(t, "second signal; cutting connections")
}

func TestAnIdleDaemonEndsAtOnce(t *testing.T) {
	leak.Check(t)
	dir := identity(t)
	d := start(t, dir, oneUpstream("--listen", filepath.Join(dir, "http.sock"))...)
	d.signal(t, syscall.SIGINT)
	if code := d.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if _, err := os.Lstat(d.addr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	execute(t, identity(t), oneUpstream("--listen", addr, "--log-level", "error")...).want(t, result{code: 69, stderr: `mtlsproxyd: listener "http": listening on ` + addr +
		": this address is taken (address already in use); find out by whom with: ss -ltnp\n"})
}

// The daemon runs as somebody who may not write where its socket should be.
func TestASocketThatMayNotBeMadeNamesTheUserAndTheWay(t *testing.T) {
	const nobody = 65534
	dir := identity(t)
	cmd := command(t, dir, oneUpstream("--listen", filepath.Join(dir, "closed", "http.sock"), "--log-level", "error")...)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		for _, open := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(open, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		coverage := filepath.Join(dir, "coverage")
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+coverage)
		if err := os.Mkdir(coverage, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, own := range []string{coverage, filepath.Join(dir, "client.key")} {
			if err := os.Chown(own, nobody, nobody); err != nil {
				t.Skip("this user namespace has no uid 65534: ", err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "closed"), 0o555); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) {
		t.Skip("this process may not start another under uid 65534: ", err)
	}
	who := fmt.Sprintf("uid %d", os.Geteuid())
	if os.Geteuid() == 0 {
		who = fmt.Sprintf("uid %d", nobody)
	}
	if u, err := user.LookupId(strings.TrimPrefix(who, "uid ")); err == nil {
		who = "user " + u.Username
	}
	result{code: cmd.ProcessState.ExitCode(), stderr: regexp.MustCompile(`\.mtlsproxy-\d+`).ReplaceAllString(stderr.String(), "TEMP")}.want(t, result{
		code: 77,
		stderr: `mtlsproxyd: listener "http": making socket "` + dir + `/closed/http.sock": mkdir ` + dir + "/closed/TEMP: permission denied; this daemon runs as " + who + ", who may not make a socket in " + dir +
			"/closed: let systemd make it, with ListenStream=" + dir + "/closed/http.sock in a drop-in of mtlsproxy.socket, or choose a directory of their own\n",
	})
}
