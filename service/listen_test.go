package service_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// listen builds a service on the addresses and has it listen, without running it.
func (p *pki) listen(t *testing.T, set []string, addresses ...string) (*service.Service, error) {
	t.Helper()
	conf, err := config.Load(config.Options{Set: set, One: &config.OneUpstream{Listen: addresses,
		Upstream: "https://127.0.0.1:1", Cert: p.files.Cert, Key: p.files.Key, CA: p.files.CA}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := service.Build(service.Options{Config: conf, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, s.Listen()
}

func TestUnixSocketHasItsMode(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for set, want := range map[string]fs.FileMode{"listener.http.mode=0660": 0o660, `listener.http.mode="0600"`: 0o600, `listener.http.mode="0666"`: 0o666} {
		path := socketPath(t)
		old := syscall.Umask(0o177)
		s, err := p.listen(t, []string{strings.Replace(set, "=0660", `="0660"`, 1)}, path)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", set, info.Mode(), err)
		}
		s.Close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

func TestUnixSocketLeavesNothingBeside(t *testing.T) {
	leak.Check(t)
	path := socketPath(t)
	if _, err := newPKI(t).listen(t, nil, path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(strings.TrimSuffix(path, "/http.sock"))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestStaleUnixSocketIsReplaced(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	path := socketPath(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if _, err := p.listen(t, nil, path); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestUnixSocketOfAnotherIsLeftAlone(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	path := socketPath(t)
	first, err := p.listen(t, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.listen(t, nil, path); !errors.Is(err, service.ErrListen) || !strings.Contains(err.Error(), "another process serves") {
		t.Errorf("got %v", err)
	}
	// Whoever was replaced does not remove the socket of its successor.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.listen(t, nil, path); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
}

func TestFileInTheWayIsNotRemoved(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	path := socketPath(t)
	tlstest.WriteFile(t, path, []byte("precious"), 0o600)
	if _, err := p.listen(t, nil, path); !errors.Is(err, service.ErrListen) || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file now holds %q", text)
	}
}

func TestAllListenersOrNone(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := socketPath(t)
	s, err := p.listen(t, nil, path, taken.Addr().String())
	if !errors.Is(err, service.ErrListen) || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "ss -ltnp") {
		t.Errorf("got %v", err)
	}
	s.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unix socket is still there: %v", err)
	}
}

func TestUnixPathMayBeAsLongAsTheKernelAllows(t *testing.T) {
	leak.Check(t)
	top, err := os.MkdirTemp("", "") // shorter than t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	const most, name = 107, "/s.sock"
	dir := top + "/" + strings.Repeat("d", most-len(top)-len("/")-len(name))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := dir + name
	if _, err := newPKI(t).listen(t, nil, path); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
