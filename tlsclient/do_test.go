package tlsclient_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patient is a Client that never goes away.
type patient struct{}

func (patient) Abandoned() error                    { return nil }
func (patient) Informational(*http1.Response) error { return nil }
func (patient) StopBody()                           {}

// fixture is an upstream of ours in front of a scripted server.
type fixture struct {
	ca       *tlstest.CA
	server   *tlstest.Server
	upstream *tlsclient.Upstream
}

func options(addr string) tlsclient.Options {
	ap := netip.MustParseAddrPort(addr)
	return tlsclient.Options{
		Name:      "test",
		Endpoints: []tlsclient.Address{{Host: ap.Addr().String(), Port: ap.Port()}},
		MaxConns:  8, MaxIdle: 8, IdleTimeout: time.Minute, MaxAge: time.Hour, PoolWait: time.Second,
		ConnectTimeout: 2 * time.Second, HandshakeTimeout: 2 * time.Second, HeaderTimeout: 5 * time.Second,
		BodyIdleTimeout: 5 * time.Second, ResolveInterval: 15 * time.Second, RetireTimeout: time.Second,
		MinVersion: tls.VersionTLS12, Limits: http1.DefaultLimits(),
	}
}

func start(t testing.TB, script tlstest.Script, change ...func(*tlsclient.Options)) *fixture {
	t.Helper()
	leak.Check(t)
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	server := tlstest.NewServer(t, tlstest.ServerOptions{CA: ca, Script: script})
	o := options(server.Addr)
	for _, f := range change {
		f(&o)
	}
	f := &fixture{ca: ca, server: server, upstream: tlsclient.NewUpstream(o)}
	t.Cleanup(f.upstream.Close)
	f.upstream.Use(f.generation(t, 1))
	return f
}

func (f *fixture) generation(t testing.TB, number uint64) *tlsclient.Generation {
	t.Helper()
	files := f.ca.Client(t, "client").WriteFiles(t, t.TempDir(), f.ca)
	g, err := tlsclient.Identity{Name: "default", Cert: files.Cert, Key: files.Key, CA: files.CA}.Load(number, time.Now())
	if err != nil {
		t.Fatalf("loading the identity: %v", err)
	}
	return g
}

func get(path string) *tlsclient.Request {
	return &tlsclient.Request{Method: []byte("GET"), Target: []byte(path), Host: []byte("upstream.test"), Idempotent: true, Client: patient{}}
}

// do performs a request and reads the whole body.
func (f *fixture) do(req *tlsclient.Request) (status int, body string, err error) {
	var resp tlsclient.Response
	defer resp.Close()
	if err := f.upstream.Do(req, &resp); err != nil {
		return 0, "", err
	}
	var b []byte
	for {
		p, err := resp.Next()
		b = append(b, p...)
		if errors.Is(err, io.EOF) {
			return resp.Status, string(b), nil
		}
		if err != nil {
			return resp.Status, string(b), err
		}
	}
}

func TestExchangesShareAConnection(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.Response(200, "hello")))
	for range 5 {
		status, body, err := f.do(get("/"))
		if err != nil || status != 200 || body != "hello" {
			t.Fatalf("got %d %q %v", status, body, err)
		}
	}
	if s := f.server.Stats(); s.Accepted != 1 {
		t.Errorf("%d connections, want 1", s.Accepted)
	}
}
