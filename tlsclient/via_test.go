package tlsclient_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func via(p *tlstest.Proxy, c tlsclient.Credentials) *tlsclient.Via {
	a := netip.MustParseAddrPort(p.Addr)
	return &tlsclient.Via{Address: tlsclient.Address{Host: a.Addr().String(), Port: a.Port()}, Credentials: c}
}

// The name is one that nobody here can look up.
func TestUpstreamIsReachedThroughAProxy(t *testing.T) {
	var p *tlstest.Proxy
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		p = tlstest.NewProxy(t, tlstest.ProxyOptions{Target: o.Endpoints[0].String()})
		o.Endpoints = []tlsclient.Address{{Host: "billing.invalid", Port: 8443}}
		o.ServerName, o.Via = "127.0.0.1", via(p, "user:p@ss:word")
		o.Resolver = new(moving) // it must not be asked
	})
	for range 3 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	asked := p.Requests()
	if len(asked) != 1 {
		t.Fatalf("the proxy was asked %d times, want once", len(asked))
	}
	user, password, _ := (func() (string, string, bool) {
		asked[0].Header.Set("Authorization", asked[0].Header.Get("Proxy-Authorization"))
		return asked[0].BasicAuth()
	})()
	if r := asked[0]; r.Method != "CONNECT" || r.RequestURI != "billing.invalid:8443" || r.Host != "billing.invalid:8443" || user != "user" || password != "p@ss:word" {
		t.Errorf("it was asked %s %s for %s by %s", r.Method, r.RequestURI, r.Host, user)
	}
	if got := f.upstream.Probe(t.Context(), f.upstream.Generation()); got[0].Err != nil || len(p.Requests()) < 2 {
		t.Errorf("a probe came to %v, and the proxy was asked %d times", got[0].Err, len(p.Requests()))
	}
}

func TestProxyThatRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		answer, want string
	}{
		"for want of credentials":   {"HTTP/1.1 407 No, secret\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", "407 Proxy Authentication Required; it wants credentials"},
		"the target":                {"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"},
		"since it cannot reach it":  {"HTTP/1.0 502 Bad Gateway\r\n\r\n", "502 Bad Gateway"},
		"by something that no HTTP": {"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"},
		"without a word":            {" ", "reading its answer"},
		"with an endless head":      {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 17<<10), "reading its answer"},
		"by speaking for others":    {"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "before the TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			p := tlstest.NewProxy(t, tlstest.ProxyOptions{Answer: c.answer})
			f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.Via = via(p, "user:secret") })
			a := f.do(f.request("GET"))
			a.refused(t, tlsclient.ConnectFailed, tlsclient.FaultUpstream)
			text := a.err.Error()
			if !strings.Contains(text, c.want) || !strings.Contains(text, "the proxy "+p.Addr) || !strings.Contains(text, f.server.Addr) || strings.Contains(text, "secret") {
				t.Errorf("got %q, want %q", text, c.want)
			}
			if s := f.server.Stats(); s.Accepted != 0 {
				t.Errorf("%d connections went past the proxy", s.Accepted)
			}
		})
	}
}

func TestProxyThatStalls(t *testing.T) {
	p := tlstest.NewProxy(t, tlstest.ProxyOptions{Silent: true})
	f := start(t, nil, func(o *tlsclient.Options) { o.Via, o.ConnectTimeout = via(p, ""), 100*time.Millisecond })
	a := f.do(f.request("GET"))
	a.refused(t, tlsclient.ConnectTimeout, tlsclient.FaultUpstream)
	if !strings.Contains(a.err.Error(), p.Addr) {
		t.Errorf("%v does not name the proxy", a.err)
	}
}

func TestProxyThatIsNotThere(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := dead.Addr().(*net.TCPAddr).AddrPort()
	dead.Close()
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		o.Via = &tlsclient.Via{Address: tlsclient.Address{Host: "127.0.0.1", Port: address.Port()}}
	})
	a := f.do(f.request("GET"))
	a.refused(t, tlsclient.ConnectFailed, tlsclient.FaultUpstream)
	if !strings.Contains(a.err.Error(), "the proxy "+address.String()) {
		t.Errorf("%v does not name the proxy", a.err)
	}
}

func TestCredentialsAreReadLikeAKey(t *testing.T) {
	write := func(content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := tlsclient.ReadCredentials(write("user:pass:word\r\nanything\n", 0o640))
	if err != nil || got != "user:pass:word" {
		t.Errorf("got %q, %v", string(got), err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", got, tlsclient.Via{Credentials: got}, &tlsclient.Via{Credentials: got}, got); strings.Contains(text, "pass") {
		t.Errorf("they are shown: %s", text)
	}
	for _, path := range []string{write("user:password\n", 0o644), write("user\n", 0o600), write("\nuser:password\n", 0o600), write(":password\n", 0o600), write("user:pass\x00word\n", 0o600), "/nowhere/at/all"} {
		if _, err := tlsclient.ReadCredentials(path); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "password\n") {
			t.Errorf("got %v", err)
		}
	}
}

// Credentials may change; that makes no other connections.
func TestAnotherProxyMakesOtherConnections(t *testing.T) {
	a, b := options("127.0.0.1:1"), options("127.0.0.1:1")
	a.Via = &tlsclient.Via{Address: tlsclient.Address{Host: "proxy", Port: 3128}, Credentials: "a:b"}
	b.Via = &tlsclient.Via{Address: a.Via.Address, Credentials: "c:d"}
	if !a.Alike(&b) {
		t.Error("other credentials make another upstream")
	}
	b.Via.Address.Port++
	if a.Alike(&b) {
		t.Error("another proxy makes no difference")
	}
	if b.Via = nil; a.Alike(&b) {
		t.Error("a proxy makes no difference")
	}
	a.Via, a.Source = nil, netip.MustParseAddr("127.0.0.2")
	if a.Alike(&b) {
		t.Error("another source makes no difference")
	}
}

func TestSourceAddress(t *testing.T) {
	from := make(chan net.Addr, 1)
	f := startServer(t, tlstest.ServerOptions{Script: tlstest.Static(tlstest.OK), BeforeHandshake: func(c *tlstest.Conn) bool {
		from <- c.TCP.RemoteAddr()
		return true
	}}, func(o *tlsclient.Options) { o.Source = netip.MustParseAddr("127.0.0.9") })
	f.do(f.request("GET")).expect(t, 200, "ok")
	got := <-from
	if host, _, _ := net.SplitHostPort(got.String()); host != "127.0.0.9" {
		t.Errorf("it came from %v", got)
	}
}
