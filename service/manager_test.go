package service_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// manager is a service manager as far as its notification socket goes.
type manager struct {
	notify *sd.Notifier
	stored func(parcel *os.File) // is called for each descriptor to be kept

	mu   sync.Mutex
	told []string
}

// newManager starts one that is told by notify.
func newManager(t *testing.T, stored func(*os.File)) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{notify: notifier(t, path), stored: stored}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for m.receive(c) {
		}
	}()
	t.Cleanup(func() {
		c.Close()
		<-ended
	})
	return m
}

// notifier tells whoever is at path.
func notifier(t *testing.T, path string) *sd.Notifier {
	t.Helper()
	n, err := sd.New(func(string) string { return path }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (m *manager) receive(c *net.UnixConn) bool {
	text, oob := make([]byte, 4096), make([]byte, 1024)
	n, oobn, _, _, err := c.ReadMsgUnix(text, oob)
	if err != nil {
		return false
	}
	m.mu.Lock()
	m.told = append(m.told, string(text[:n]))
	m.mu.Unlock()
	messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), "passed")
			if strings.HasPrefix(string(text[:n]), "FDSTORE=1") && m.stored != nil {
				m.stored(f)
			} else {
				f.Close()
			}
		}
	}
	return true
}

// heard returns how many datagrams begin with text.
func (m *manager) heard(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.told {
		if strings.HasPrefix(line, text) {
			n++
		}
	}
	return n
}

// managed starts a service that tells n, with one upstream.
func (p *pki) managed(t *testing.T, upstream *tlstest.Server, n *sd.Notifier, change func(*service.Options), set ...string) *daemon {
	t.Helper()
	return startWith(t, config.Options{
		One: &config.OneUpstream{Upstream: upstream.URL, Cert: p.files.Cert, Key: p.files.Key, CA: p.files.CA},
		Set: append([]string{`route.default.host=["*"]`}, set...),
	}, func(o *service.Options) {
		o.Notify = n
		change(o)
	})
}

func unchanged(*service.Options) {}

// One silent connection to the admin socket would hold every restart for seconds.
func TestConnectionsAreHandedOverBeforeTheAdminSocketCloses(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	var running atomic.Pointer[daemon]
	var late []string
	parcels := make(chan *os.File, 1)
	m := newManager(t, func(f *os.File) {
		late = running.Load().log.with("INFO stopping")
		parcels <- f
	})
	socket := filepath.Join(filepath.Dir(socketPath(t)), "admin.sock")
	d := p.managed(t, p.upstream(t, tlstest.Static(tlstest.OK)), m.notify, unchanged, "admin.address="+socket)
	running.Store(d)
	if a := d.dial().get("/"); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	silent, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	d.signals <- syscall.SIGUSR2
	select {
	case f := <-parcels:
		f.Close()
	case <-time.After(patience):
		t.Fatal("nothing was handed over")
	}
	if len(late) > 0 {
		t.Errorf("the admin API ended before the hand-over: %q", late)
	}
	silent.Close()
	d.ends()
}

func TestWhatNobodyTakesIsAnsweredAndNotReset(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	// A manager that is not there: nothing can be handed over.
	d := p.managed(t, p.upstream(t, w.script), notifier(t, filepath.Join(t.TempDir(), "nobody")), unchanged)
	resting, asking, busy := d.dial(), d.dial(), d.dial()
	for _, c := range []*client{resting, asking} {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		w.next(t)
		w.answer <- tlstest.OK
		c.final(http.MethodGet)
	}
	busy.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	d.signals <- syscall.SIGUSR2
	d.await("the idle connections to be taken from the front", func() bool {
		return len(d.log.with("INFO draining")) > 0 && d.refuses() && d.service.Connections() == 1
	})
	asking.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
	w.answer <- tlstest.OK // to the busy one, which ends the drain
	if a := busy.final(http.MethodGet); a.status != 200 {
		t.Errorf("the busy connection got %+v", a)
	}
	w.next(t)
	w.answer <- tlstest.OK
	if a := asking.final(http.MethodGet); a.status != 200 || !a.close {
		t.Errorf("the request that had come in got %+v", a)
	}
	for name, c := range map[string]*client{"resting": resting, "asking": asking} {
		if c.ended() {
			t.Errorf("the %s connection was reset", name)
		}
	}
	d.ends()
	if len(d.log.with("event=hand_over_failed")) != 1 {
		t.Error("nothing is logged of it")
	}
}

// connection returns both ends of one.
func connection(t *testing.T) (theirs, ours net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return theirs, ours
}

func TestAServiceThatNeverServesHandsItsClientsOn(t *testing.T) {
	leak.Check(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	parcels := make(chan *os.File, 1)
	m := newManager(t, func(f *os.File) { parcels <- f })
	theirs, ours := connection(t)
	conf, err := config.Load(config.Options{Set: []string{"log.enabled=false", "admin.address=none", "listener.http.address=" + taken.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := service.Build(service.Options{
		Config: conf, Log: slog.New(new(logBook)), Notify: m.notify,
		Passed: &sd.Passed{Clients: []sd.Client{{Listener: "http", Conn: ours}, {Listener: "of before", Conn: ours}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err == nil {
		t.Error("it listens on an address that is taken")
	}
	s.Close()
	select {
	case f := <-parcels:
		defer f.Close()
	default:
		t.Fatal("nothing was handed on")
	}
	theirs.SetReadDeadline(time.Now())
	if _, err := theirs.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("the client sees %v", err)
	}
}

func TestTakenOverCountsWhatWasTakenOver(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	m := newManager(t, nil)
	_, ours := connection(t)
	d := p.managed(t, upstream, m.notify, func(o *service.Options) {
		o.Passed = &sd.Passed{Clients: []sd.Client{{Listener: "http", Conn: ours}}}
	})
	d.await("the take-over", func() bool { return len(d.log.with("event=taken_over connections=1 closed_by_clients=0")) == 1 })
	d.shutdown()
	d = p.managed(t, upstream, m.notify, func(o *service.Options) {
		o.Passed = &sd.Passed{Rejected: []sd.Rejected{{Name: "strange", Why: "a test"}}} // it is in the store as well
	})
	d.await("the removal", func() bool { return m.heard("FDSTOREREMOVE=1\nFDNAME=strange") == 1 })
	if lines := d.log.with("event=taken_over"); len(lines) > 0 {
		t.Errorf("nothing was taken over, but it says %q", lines)
	}
}

// Fewer are taken over than were handed over, and yet none is lost.
func TestTakenOverTellsOfClientsThatHaveLeftMeanwhile(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	m := newManager(t, nil)
	for ours := range 2 {
		passed := &sd.Passed{Rejected: []sd.Rejected{{Name: "clients", Gone: true}, {Name: "clients", Gone: true}, {Name: "strange", Why: "a test"}}}
		if ours == 1 {
			_, c := connection(t)
			passed.Clients = []sd.Client{{Listener: "http", Conn: c}}
		}
		d := p.managed(t, upstream, m.notify, func(o *service.Options) { o.Passed = passed })
		want := fmt.Sprintf("event=taken_over connections=%d closed_by_clients=2", ours)
		d.await("the take-over", func() bool { return len(d.log.with(want)) == 1 })
		d.shutdown()
	}
}

// The service manager starts it again; its clients need not notice.
func TestAServiceThatLosesItsListenerHandsItsClientsOver(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	parcels := make(chan *os.File, 1)
	m := newManager(t, func(f *os.File) { parcels <- f })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := p.managed(t, p.upstream(t, tlstest.Static(tlstest.OK)), m.notify, func(o *service.Options) {
		o.Passed = &sd.Passed{Listeners: []sd.Listener{{Name: "http", Listener: l}}}
	})
	if a := d.dial().get("/"); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	l.Close()
	d.stop.Do(func() {
		if err := <-d.done; err == nil {
			t.Error("it ended without an error")
		}
	})
	select {
	case f := <-parcels:
		f.Close()
	default:
		t.Error("nothing was handed over")
	}
}

func TestADaemonWithoutRoutesSaysSo(t *testing.T) {
	leak.Check(t)
	d := startDaemon(t, config.Options{})
	said := func(n int) func() bool {
		return func() bool { return len(d.log.with("event=unconfigured")) == n }
	}
	d.await("a warning at the start", said(1))
	d.hangups <- syscall.SIGHUP
	d.await("another after the reload", said(2))
}

func TestAReloadThatFailsHasAnEventAtItsEnd(t *testing.T) {
	leak.Check(t)
	d := startWith(t, config.Options{}, func(o *service.Options) {
		o.Load = func() (*config.Config, error) { return nil, service.ErrConfig }
	})
	d.hangups <- syscall.SIGHUP
	d.await("the end of the reload", func() bool { return len(d.log.with("event=reload_aborted")) == 1 })
}

func TestAnUpstreamThatGoesAndComesHasEvents(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	d := p.daemon(t, upstream)
	address := strings.TrimPrefix(upstream.URL, "https://")
	upstream.Close()
	c := d.dial()
	if a := c.get("/"); a.status != 502 {
		t.Errorf("status %d without an upstream", a.status)
	}
	d.await("the event", func() bool { return len(d.log.with("event=upstream_down upstream=default endpoint="+address)) == 1 })
	tlstest.NewServer(t, tlstest.ServerOptions{CA: p.ca, Script: tlstest.Static(tlstest.OK), Address: address})
	d.await("an answer", func() bool { return c.get("/").status == 200 })
	d.await("the event", func() bool { return len(d.log.with("event=upstream_up upstream=default endpoint="+address)) == 1 })
}
