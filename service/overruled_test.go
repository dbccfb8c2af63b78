package service_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// passed is a daemon with sockets that were passed to it, and the configuration in its file.
type passed struct {
	*daemon
	admin     *api.Client
	file, dir string
	tcp, unix string
}

// startPassed starts a daemon with a TCP and a unix socket called http and an admin socket. TCP, UNIX and ADMIN in the
// text stand for where they are.
func startPassed(t *testing.T, text string) *passed {
	t.Helper()
	p := &passed{dir: filepath.Dir(socketPath(t))}
	p.file, p.unix = filepath.Join(p.dir, "mtlsproxy.toml"), filepath.Join(p.dir, "http.sock")
	admin := filepath.Join(p.dir, "admin.sock")
	tcp, http, operator := listenOn(t, "tcp", "127.0.0.1:0"), listenOn(t, "unix", p.unix), listenOn(t, "unix", admin)
	p.tcp = tcp.Addr().String()
	p.write(t, text)
	o := config.Options{File: p.file, Set: []string{"log.enabled=false"}}
	conf, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	p.daemon = runPassed(t, service.Options{
		Config: conf, File: p.file, Load: func() (*config.Config, error) { return config.Load(o) },
		Passed: &sd.Passed{Listeners: []sd.Listener{{Name: sd.HTTP, Listener: tcp}, {Name: sd.HTTP, Listener: http}, {Name: sd.Admin, Listener: operator}}},
	})
	p.admin = api.NewClient(admin)
	t.Cleanup(p.admin.Close)
	return p
}

// runPassed runs a service until the end of the test.
func runPassed(t *testing.T, o service.Options) *daemon {
	t.Helper()
	d := &daemon{tb: t, signals: make(chan os.Signal, 2), hangups: make(chan os.Signal, 1), done: make(chan error, 1), log: &logBook{}}
	o.Log = slog.New(d.log)
	var err error
	if d.service, err = service.Build(o); err != nil {
		t.Fatal(err)
	}
	if err := d.service.Listen(); err != nil {
		d.service.Close()
		t.Fatal(err)
	}
	go func() { d.done <- d.service.Run(d.signals, d.hangups) }()
	t.Cleanup(d.shutdown)
	return d
}

func (p *passed) write(t *testing.T, text string) {
	t.Helper()
	text = strings.NewReplacer("TCP", p.tcp, "UNIX", p.unix, "ADMIN", filepath.Join(p.dir, "admin.sock")).Replace(text)
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// warned returns the warnings about settings that are not used.
func (p *passed) warned() []string { return p.log.with("WARN a setting of a socket is not used") }

func (p *passed) notes(t *testing.T) []string {
	t.Helper()
	s, err := p.admin.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(s.Health.Reasons, func(r api.Reason) bool { return strings.Contains(r.Message, "not used") }) {
		t.Errorf("health complains: %+v", s.Health)
	}
	return s.Notes
}

func TestAnAddressThatAPassedSocketOverrulesIsTold(t *testing.T) {
	p := startPassed(t, "[listener.http]\naddress = [\"TCP\", \"127.0.0.1:9999\"]\n[admin]\naddress = \"/nowhere/admin.sock\"\n")
	want := []string{
		"address 127.0.0.1:9999 of listener http is not used: the unit with FileDescriptorName=http passes " + p.tcp + ", " + p.unix + "; change it there",
		"address /nowhere/admin.sock of [admin] is not used: the unit with FileDescriptorName=admin passes " + filepath.Join(p.dir, "admin.sock") + "; change it there",
	}
	if got := p.notes(t); !slices.Equal(got, want) {
		t.Errorf("status says\n%q, want\n%q", got, want)
	}
	if got := p.warned(); len(got) != 2 || !strings.Contains(got[0], "event=degraded error="+want[0]) || !strings.Contains(got[1], want[1]) {
		t.Errorf("logged: %q", got)
	}
	if _, err := p.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.warned(); len(got) != 4 {
		t.Errorf("after a reload: %q", got)
	}

	p.write(t, "[admin]\naddress = \"none\"\n")
	if _, err := p.admin.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.notes(t); len(got) != 1 || !strings.HasPrefix(got[0], "address none of [admin] is not used") {
		t.Errorf("of an admin socket that nobody wants: %q", got)
	}
}

func TestAnAddressThatIsThatOfThePassedSocketIsFine(t *testing.T) {
	p := startPassed(t, "[listener.http]\naddress = [\"TCP\", \"UNIX\"]\n[admin]\naddress = \"ADMIN\"\n")
	if notes, logged := p.notes(t), p.warned(); len(notes)+len(logged) != 0 {
		t.Errorf("status says %q, logged %q", notes, logged)
	}
}

func TestAModeThatAPassedSocketOverrulesIsTold(t *testing.T) {
	p := startPassed(t, "[listener.http]\naddress = [\"TCP\", \"UNIX\"]\nmode = \"0600\"\n[admin]\nmode = \"0660\"\n")
	for path, mode := range map[string]os.FileMode{p.unix: 0o666, filepath.Join(p.dir, "admin.sock"): 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	notes := p.notes(t)
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "mode 0600 of listener http is not used: the unit with FileDescriptorName=http gives "+p.unix+" 0666 with SocketMode=; ") {
		t.Errorf("status says %q", notes)
	}
}
