package tlsclient_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// client is who the requests of a test are for.
type client struct {
	abandoned     atomic.Pointer[error]
	informational []int
	stopped       atomic.Bool
	stop          func()
}

func (c *client) Abandoned() error {
	if err := c.abandoned.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *client) Informational(r *http1.Response) error {
	c.informational = append(c.informational, r.Status)
	return nil
}

func (c *client) StopBody() {
	if !c.stopped.Swap(true) && c.stop != nil {
		c.stop()
	}
}

// fixture is an upstream of ours in front of a scripted server.
type fixture struct {
	ca       *tlstest.CA
	server   *tlstest.Server
	upstream *tlsclient.Upstream
	client   client
}

func options(addrs ...string) tlsclient.Options {
	o := tlsclient.Options{
		Name: "test", MaxConns: 8, MaxIdle: 8, IdleTimeout: time.Minute, MaxAge: time.Hour, PoolWait: 5 * time.Second,
		ConnectTimeout: 5 * time.Second, HandshakeTimeout: 5 * time.Second, HeaderTimeout: 10 * time.Second,
		BodyIdleTimeout: 10 * time.Second, ResolveInterval: 15 * time.Second, RetireTimeout: 5 * time.Second,
		MinVersion: tls.VersionTLS12, Limits: http1.DefaultLimits(),
		Retry:   tlsclient.RetryOptions{Attempts: 2, Percent: 20, Min: 3},
		Breaker: tlsclient.BreakerOptions{Failures: 7, OpenMin: time.Second, OpenMax: time.Minute},
	}
	for _, addr := range addrs {
		ap := netip.MustParseAddrPort(addr)
		o.Endpoints = append(o.Endpoints, tlsclient.Address{Host: ap.Addr().String(), Port: ap.Port()})
	}
	return o
}

// start runs a server with the script and an upstream with the changed options.
func start(t testing.TB, script tlstest.Script, change ...func(*tlsclient.Options)) *fixture {
	t.Helper()
	return startServer(t, tlstest.ServerOptions{Script: script}, change...)
}

func startServer(t testing.TB, so tlstest.ServerOptions, change ...func(*tlsclient.Options)) *fixture {
	t.Helper()
	leak.Check(t)
	if so.CA == nil {
		so.CA = tlstest.NewCA(t, tlstest.CAOptions{})
	}
	f := &fixture{ca: so.CA, server: tlstest.NewServer(t, so)}
	o := options(f.server.Addr)
	for _, c := range change {
		c(&o)
	}
	f.upstream = tlsclient.NewUpstream(o)
	t.Cleanup(f.upstream.Close)
	f.upstream.Use(f.generation(t, 1))
	return f
}

func (f *fixture) generation(t testing.TB, number uint64) *tlsclient.Generation {
	t.Helper()
	return load(t, f.ca.Client(t, "client").WriteFiles(t, "", f.ca), number)
}

func load(t testing.TB, files tlstest.Files, number uint64) *tlsclient.Generation {
	t.Helper()
	g, err := identity(files).Load(number, time.Now())
	if err != nil {
		t.Fatalf("loading the identity: %v", err)
	}
	return g
}

func identity(f tlstest.Files) tlsclient.Identity {
	return tlsclient.Identity{Name: "default", Cert: f.Cert, Key: f.Key, CA: f.CA}
}

// request makes a request without a body.
func (f *fixture) request(method string) *tlsclient.Request {
	return &tlsclient.Request{Method: []byte(method), Target: []byte("/"), Host: []byte("upstream.test"),
		Idempotent: method != "POST", Client: &f.client}
}

// post makes a request whose body comes from r. With buffered set it has been
// read already, as a small body that came with its head.
func (f *fixture) post(framing http1.Framing, length int64, r io.Reader, buffered bool) *tlsclient.Request {
	req := f.request("POST")
	req.Framing, req.Length = framing, length
	reader := &http1.Reader{Src: r, Buf: make([]byte, 16<<10)}
	if buffered {
		for reader.Fill() == nil {
		}
	}
	req.Body = new(http1.Body)
	req.Body.Open(reader, framing, length, nil)
	return req
}

// answer is what came of one exchange.
type answer struct {
	tlsclient.Response
	body string
	err  error // of Do, or of reading the body
}

// do performs a request and reads the whole body.
func (f *fixture) do(req *tlsclient.Request) *answer {
	a := new(answer)
	defer a.Close()
	if a.err = f.upstream.Do(req, &a.Response); a.err != nil {
		return a
	}
	a.read()
	return a
}

func (a *answer) read() {
	var b strings.Builder
	for {
		p, err := a.Next()
		b.Write(p)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				a.err = err
			}
			a.body = b.String()
			return
		}
	}
}

// expect fails the test unless a is a complete response.
func (a *answer) expect(t testing.TB, status int, body string) {
	t.Helper()
	if a.err != nil || a.Status != status || a.body != body {
		t.Fatalf("got %d %q, %v; want %d %q", a.Status, a.body, a.err, status, body)
	}
}

// refused fails the test unless a is an error of that class and fault.
func (a *answer) refused(t testing.TB, class tlsclient.Class, fault tlsclient.Fault) {
	t.Helper()
	var e *tlsclient.Error
	if !errors.As(a.err, &e) || e.Class != class || e.Fault != fault {
		t.Fatalf("got %v (%d %q); want %s, %s's fault", a.err, a.Status, a.body, class, fault)
	}
}
