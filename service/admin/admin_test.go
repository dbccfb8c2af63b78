package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fake is a Backend that answers with little, or as its functions say.
type fake struct {
	health   api.Health
	check    func(context.Context) (api.Reload, error)
	reload   func(ctx context.Context, by string) (api.Reload, error)
	drain    func(api.Target) (api.Changed, error)
	stage    func(api.Stage) (api.Staged, error)
	probe    func(ctx context.Context, name string) (api.Probed, error)
	setLevel func(string) error
	metrics  func(io.Writer) error
	routes   func() []api.Route
	records  func(ctx context.Context, q url.Values, each func(*api.Record) error) error
	tail     func(ctx context.Context, q url.Values, each func(*api.Record) error, lost func(uint64) error) error
	events   func(ctx context.Context, count int, follow bool, each func(*api.Event) error, lost func(uint64) error) error
}

func (*fake) Version() api.Version              { return api.Version{Version: "1.2.3", API: "v1", PID: 7} }
func (*fake) Status(context.Context) api.Status { return api.Status{Phase: "running"} }
func (f *fake) Health() api.Health              { return f.health }
func (*fake) Upstreams() []api.Upstream         { return []api.Upstream{{Name: "billing"}} }
func (*fake) Identities() []api.Identity        { return []api.Identity{{Name: "default"}} }
func (*fake) Connections() []api.Connection     { return []api.Connection{{ID: 5}} }
func (*fake) Limits() []api.Limit               { return []api.Limit{{Name: "pool.max"}} }
func (*fake) LogStats() api.LogStats            { return api.LogStats{Enabled: true} }
func (*fake) Level() string                     { return "debug" }

func (f *fake) Check(ctx context.Context) (api.Reload, error) {
	if f.check != nil {
		return f.check(ctx)
	}
	return api.Reload{OK: true}, nil
}

func (*fake) Resume(t api.Target) (api.Changed, error) {
	return api.Changed{Message: "resumed " + t.String()}, nil
}

func (*fake) ResetBreaker(t api.Target) (api.Changed, error) {
	return api.Changed{Message: "reset " + t.String()}, nil
}

func (f *fake) Routes() []api.Route {
	if f.routes != nil {
		return f.routes()
	}
	return []api.Route{{Name: "billing"}}
}

func (f *fake) SetLevel(l string) error {
	if f.setLevel != nil {
		return f.setLevel(l)
	}
	return nil
}

func (f *fake) Metrics(w io.Writer) error {
	if f.metrics != nil {
		return f.metrics(w)
	}
	_, err := io.WriteString(w, "mtlsproxy_up 1\n")
	return err
}

func (f *fake) Reload(ctx context.Context, by string) (api.Reload, error) {
	if f.reload != nil {
		return f.reload(ctx, by)
	}
	return api.Reload{OK: true, By: by}, nil
}

func (f *fake) Drain(t api.Target) (api.Changed, error) {
	if f.drain != nil {
		return f.drain(t)
	}
	return api.Changed{Message: "drained " + t.String()}, nil
}

func (f *fake) Stage(_ context.Context, s api.Stage, by string) (api.Staged, error) {
	if f.stage != nil {
		return f.stage(s)
	}
	return api.Staged{Identity: s.Identity, By: by}, nil
}

func (*fake) Commit(_ context.Context, identity, _ string) (api.Committed, error) {
	return api.Committed{Identity: identity, Generation: 2}, nil
}

func (*fake) Abort(identity string) (api.Changed, error) {
	return api.Changed{Message: "forgot what was staged for " + identity}, nil
}

func (f *fake) Probe(ctx context.Context, name string) (api.Probed, error) {
	if f.probe != nil {
		return f.probe(ctx, name)
	}
	return api.Probed{Name: name, OK: true}, nil
}

func (f *fake) Records(ctx context.Context, q url.Values, each func(*api.Record) error) error {
	if f.records != nil {
		return f.records(ctx, q, each)
	}
	return each(&api.Record{ID: "r1"})
}

func (f *fake) Tail(ctx context.Context, q url.Values, each func(*api.Record) error, lost func(uint64) error) error {
	if f.tail != nil {
		return f.tail(ctx, q, each, lost)
	}
	return each(&api.Record{ID: "r2"})
}

func (f *fake) Events(ctx context.Context, count int, follow bool, each func(*api.Event) error, lost func(uint64) error) error {
	if f.events != nil {
		return f.events(ctx, count, follow, each, lost)
	}
	return each(&api.Event{Seq: 1})
}

// The callers of the tests.
const (
	stranger = 1000
	reader   = 1001
	operator = 1002
)

func set(t *testing.T, rules ...string) caller.Set {
	t.Helper()
	s, err := caller.NewSet(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func access(t *testing.T) Access {
	t.Helper()
	return Access{Read: set(t, "uid:1001"), Operate: set(t, "uid:1002")}
}

// world is a server with its client.
type world struct {
	level  slog.LevelVar
	server *Server
	client *http.Client
	api    *api.Client
	uid    atomic.Uint32 // of every caller
	log    *logbook
	dial   func(ctx context.Context) (net.Conn, error)
}

// logbook keeps what is logged.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start serves b on a unix socket; every caller is an operator until the test says
// otherwise.
func start(t *testing.T, b Backend) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	w := startOn(t, b, l, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	})
	w.api = api.NewClient(path)
	t.Cleanup(w.api.Close)
	return w
}

func startOn(t *testing.T, b Backend, l net.Listener, dial func(context.Context) (net.Conn, error)) *world {
	t.Helper()
	w := &world{log: new(logbook), dial: dial}
	w.uid.Store(operator)
	w.server = New(Options{
		Backend: b, Access: access(t), Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: &w.level})),
		Who: func(net.Conn) (caller.Caller, error) { return caller.Caller{UID: w.uid.Load()}, nil },
		UID: func(c net.Conn) (uint32, error) {
			if p, ok := c.(piped); ok {
				return p.uid, nil
			}
			return w.uid.Load(), nil
		},
	})
	transport := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives:  true, // each request has a caller of its own
		DisableCompression: true,
	}
	w.client = &http.Client{Transport: transport}
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(l) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		w.server.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return w
}

// ask sends a request as uid and returns the answer with its body.
func (w *world) ask(t *testing.T, uid uint32, method, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	w.uid.Store(uid)
	var payload io.Reader
	if body != "" {
		payload = bytes.NewBufferString(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://mtlsproxy"+target, payload)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", method, target, err)
	}
	return resp, string(b)
}

// pipes is a listener whose connections are made in memory, so that the clock may
// be the test's.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
	uid   func() uint32 // of who dials
}

// piped is the server's end of such a connection.
type piped struct {
	net.Conn
	uid uint32
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.gone) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- piped{near, p.uid()}:
		return far, nil
	case <-p.gone:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// startPipes is start for a synctest bubble.
func startPipes(t *testing.T, b Backend) *world {
	t.Helper()
	p := newPipes()
	w := startOn(t, b, p, p.dial)
	p.uid = w.uid.Load
	return w
}

func (w *world) connect(t *testing.T) net.Conn {
	t.Helper()
	c, err := w.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// within fails the test when something that must happen soon does not.
func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// nobody has no permission.
func nobody(*call, permission) bool { return false }
