package sd

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	leak.Main(m)
}

// manager is a service manager as far as its notification socket goes.
type manager struct {
	t    *testing.T
	sock *net.UnixConn
	name string
}

// datagram is one message and what came with it.
type datagram struct {
	text  string
	files []*os.File
}

func newManager(t *testing.T, name string) *manager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &manager{t: t, sock: c, name: name}
}

// notified returns a Notifier and the manager whom it tells.
func notified(t *testing.T) (*Notifier, *manager) {
	t.Helper()
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	return m.notifier(), m
}

func (m *manager) notifier() *Notifier {
	m.t.Helper()
	n, err := New(m.env, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func (m *manager) env(name string) string {
	if name == "NOTIFY_SOCKET" {
		return m.name
	}
	return ""
}

// next returns the next datagram; ok is false if there is none within the time.
func (m *manager) next(within time.Duration) (d datagram, ok bool) {
	m.t.Helper()
	text, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*768))
	m.sock.SetReadDeadline(time.Now().Add(within))
	n, oobn, flags, _, err := m.sock.ReadMsgUnix(text, oob)
	if err != nil {
		return d, false
	}
	if flags&unix.MSG_TRUNC != 0 {
		m.t.Errorf("a datagram is longer than systemd reads")
	}
	d.text = string(text[:n])
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		m.t.Fatal(err)
	}
	for _, c := range messages {
		fds, err := unix.ParseUnixRights(&c)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			d.files = append(d.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return d, true
}

// all returns the texts of what has been sent, which is what comes before a datagram
// of its own.
func (m *manager) all() []string {
	m.t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- m.tell("X=end", 10*time.Second) }()
	var texts []string
	for {
		d, ok := m.next(10 * time.Second)
		if !ok {
			m.t.Fatal("nothing to read")
		}
		if d.text == "X=end" {
			break
		}
		texts = append(texts, d.text)
	}
	if err := <-sent; err != nil {
		m.t.Fatal(err)
	}
	return texts
}

func (m *manager) tell(text string, within time.Duration) error {
	return send(&net.UnixAddr{Name: m.name, Net: "unixgram"}, text, nil, time.Now().Add(within))
}

func (m *manager) want(texts ...string) {
	m.t.Helper()
	if got := m.all(); !slices.Equal(got, texts) {
		m.t.Errorf("the manager was told\n%q, want\n%q", got, texts)
	}
}

// stuff fills the manager's queue, as if it did not read for long.
func (m *manager) stuff() {
	m.t.Helper()
	for {
		if err := m.tell("X=stuffing", 100*time.Millisecond); err != nil {
			return
		}
	}
}

// unstuffed is all without the stuffing.
func (m *manager) unstuffed() []string {
	return slices.DeleteFunc(m.all(), func(s string) bool { return s == "X=stuffing" })
}

// serve keeps what is stored, as the manager does, until stop is called.
func (m *manager) serve() (stop func() (kept []datagram)) {
	var kept []datagram
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			d, ok := m.next(10 * time.Second)
			if !ok || d.text == "X=end" {
				return
			}
			if !strings.HasPrefix(d.text, "FDSTORE=1\n") {
				for _, f := range d.files {
					f.Close()
				}
				d.files = nil
			}
			kept = append(kept, d)
		}
	}()
	return func() []datagram {
		if err := m.tell("X=end", 10*time.Second); err != nil {
			m.t.Error(err)
		}
		<-done
		return kept
	}
}
