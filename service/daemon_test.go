package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) {
	if set, ok := os.LookupEnv(allocsEnv); ok {
		if err := countingDaemon(strings.Split(set, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if target, ok := os.LookupEnv(askEnv); ok {
		os.Exit(askAndTell(target))
	}
	leak.Main(m)
}

// patience bounds every wait for something that should happen soon.
const patience = 10 * time.Second

// pki is a certificate authority and a client identity of it on disk.
type pki struct {
	ca    *tlstest.CA
	files tlstest.Files
}

func newPKI(tb testing.TB) *pki {
	tb.Helper()
	ca := tlstest.NewCA(tb, tlstest.CAOptions{})
	return &pki{ca: ca, files: ca.Client(tb, "app").WriteFiles(tb, "", ca)}
}

// upstream starts a scripted upstream that keeps what it receives.
func (p *pki) upstream(tb testing.TB, script tlstest.Script) *tlstest.Server {
	tb.Helper()
	return tlstest.NewServer(tb, tlstest.ServerOptions{CA: p.ca, Script: script, KeepBytes: true})
}

// daemon is a whole service on sockets of its own.
type daemon struct {
	tb      testing.TB
	service *service.Service
	signals chan os.Signal
	hangups chan os.Signal
	done    chan error
	log     *logBook
	stop    sync.Once

	tcp  string // host:port
	unix string // path
}

// daemon starts a service in front of the upstream, with one route for every host, and the given --set values.
func (p *pki) daemon(tb testing.TB, upstream *tlstest.Server, set ...string) *daemon {
	tb.Helper()
	set = append([]string{`route.default.host=["*"]`}, set...)
	return startDaemon(tb, config.Options{
		One: &config.OneUpstream{Upstream: upstream.URL, Cert: p.files.Cert, Key: p.files.Key, CA: p.files.CA},
		Set: set,
	})
}

// startIdling starts a service that ends after a while without connections.
func startIdling(tb testing.TB, p *pki, upstream *tlstest.Server, after time.Duration) *daemon {
	tb.Helper()
	return startWith(tb, config.Options{
		One: &config.OneUpstream{Upstream: upstream.URL, Cert: p.files.Cert, Key: p.files.Key, CA: p.files.CA},
		Set: []string{`route.default.host=["*"]`},
	}, func(o *service.Options) { o.IdleExit = after })
}

// startDaemon adds a TCP and a unix address to the listener "http" and runs the service until the end of the test.
func startDaemon(tb testing.TB, o config.Options) *daemon {
	tb.Helper()
	return startWith(tb, o, func(*service.Options) {})
}

func startWith(tb testing.TB, o config.Options, change func(*service.Options)) *daemon {
	tb.Helper()
	d := &daemon{tb: tb, signals: make(chan os.Signal, 2), hangups: make(chan os.Signal, 1), done: make(chan error, 1), log: &logBook{}, unix: socketPath(tb)}
	if o.One == nil {
		o.One = new(config.OneUpstream)
	}
	o.One.Listen = []string{"127.0.0.1:0", d.unix}
	// A test that wants them names a place.
	o.Set = append([]string{"log.enabled=false", "admin.address=none"}, o.Set...)
	conf, err := config.Load(o)
	if err != nil {
		tb.Fatal(err)
	}
	events := journal.NewEvents(d.log, 0)
	options := service.Options{
		Config: conf, Load: func() (*config.Config, error) { return config.Load(o) }, File: o.File, Version: "test",
		Log: slog.New(events), Events: events,
	}
	change(&options)
	if d.service, err = service.Build(options); err != nil {
		tb.Fatal(err)
	}
	if err := d.service.Listen(); err != nil {
		d.service.Close()
		tb.Fatal(err)
	}
	for _, a := range d.service.Addresses() {
		if a.Network() == "tcp" && d.tcp == "" {
			d.tcp = a.String()
		}
	}
	go func() { d.done <- d.service.Run(d.signals, d.hangups) }()
	tb.Cleanup(d.shutdown)
	return d
}

// shutdown drains the service and waits for its end.
func (d *daemon) shutdown() {
	d.stop.Do(func() {
		d.signals <- syscall.SIGTERM
		if err := <-d.done; err != nil {
			d.tb.Errorf("the service ended with %v", err)
		}
	})
}

// socketPath is short enough for a socket address, which a test's own directory may not be.
func socketPath(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "mtlsproxy")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "http.sock")
}

// dial opens a client connection, which closes with the test.
func (d *daemon) dial() *client { return d.dialTo("tcp", d.tcp) }

func (d *daemon) dialUnix() *client { return d.dialTo("unix", d.unix) }

func (d *daemon) dialTo(network, address string) *client {
	d.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		d.tb.Fatal(err)
	}
	c := newClient(d.tb, nc)
	d.tb.Cleanup(c.close)
	return c
}

// logBook keeps log records as text, one line for each.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logBook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logBook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logBook) WithGroup(string) slog.Handler            { return l }

func (l *logBook) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// with returns the lines that contain text.
func (l *logBook) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
