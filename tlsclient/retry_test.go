package tlsclient_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// dyingSecond answers the first request on a connection and reads the second,
// then ends without an answer.
func dyingSecond(c *tlstest.Conn) {
	for i := range 2 {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if _, err := c.ReadBody(r); err != nil || i == 1 {
			c.End(tlstest.Reset)
			return
		}
		if c.Write(tlstest.OK) != nil {
			return
		}
	}
}

func TestIdempotentRequestIsRepeatedOnceAfterAReusedConnectionDied(t *testing.T) {
	f := start(t, dyingSecond)
	f.do(f.request("GET")).expect(t, 200, "ok")
	a := f.do(f.request("GET"))
	a.expect(t, 200, "ok")
	if a.Attempts != 2 || a.Reused {
		t.Errorf("%d attempts, the last on a reused connection: %v; want 2 on a fresh one", a.Attempts, a.Reused)
	}
	if s := f.server.Stats(); s.Requests != 3 {
		t.Errorf("the server saw %d requests, want 3", s.Requests)
	}
}

func TestIdempotentRequestWithABufferedBodyIsRepeatedWhole(t *testing.T) {
	f := start(t, dyingSecond)
	f.do(f.request("GET")).expect(t, 200, "ok")
	req := f.post(http1.ByLength, 5, strings.NewReader("hello"), true)
	req.Method, req.Idempotent = []byte("PUT"), true
	f.do(req).expect(t, 200, "ok")
	seen := f.server.Requests()
	if len(seen) != 3 || string(seen[1].Body) != "hello" || string(seen[2].Body) != "hello" {
		t.Errorf("the server saw %d requests, the last with %q", len(seen), seen[len(seen)-1].Body)
	}
}

func TestNonIdempotentRequestIsNeverSentTwice(t *testing.T) {
	f := start(t, dyingSecond)
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.do(f.request("POST")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	if s := f.server.Stats(); s.Requests != 2 {
		t.Errorf("the server saw %d requests, want 2", s.Requests)
	}
}

func TestRequestIsNotRepeatedOnceAnsweredInPart(t *testing.T) {
	f := start(t, func(c *tlstest.Conn) {
		tlstest.PerRequest(tlstest.TCPClose, tlstest.OK, "HTTP/1.1 200 O")(c)
	})
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.do(f.request("GET")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	if s := f.server.Stats(); s.Requests != 2 {
		t.Errorf("the server saw %d requests, want 2", s.Requests)
	}
}

// closing answers one request, ends the connection without having announced it,
// and says when it has.
func closing(end func(*tlstest.Conn), ended chan<- struct{}) tlstest.Script {
	return func(c *tlstest.Conn) {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if _, err := c.ReadBody(r); err != nil || c.Write(tlstest.OK) != nil {
			return
		}
		end(c)
		ended <- struct{}{}
		c.WaitClosed()
	}
}

var ends = map[string]func(*tlstest.Conn){
	"close_notify": func(c *tlstest.Conn) { c.TLS.CloseWrite() },
	"FIN":          func(c *tlstest.Conn) { c.TCP.CloseWrite() },
	"RST":          func(c *tlstest.Conn) { c.TCP.SetLinger(0); c.TCP.Close() },
}

// A connection that its server closed while it was idle is noticed before a byte
// is written, so even a POST goes on over another.
func TestStaleConnectionCostsNobodyARequest(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{}, 1)
			f := start(t, closing(end, ended))
			for range 20 {
				f.do(f.request("POST")).expect(t, 200, "ok")
				<-ended
			}
			if s := f.server.Stats(); s.Requests != 20 || s.Accepted != 20 {
				t.Errorf("the server saw %d requests on %d connections, want 20 on 20", s.Requests, s.Accepted)
			}
		})
	}
}

func TestStaleConnectionIsNoticedBeforeAStreamedBody(t *testing.T) {
	ended := make(chan struct{}, 1)
	f := start(t, closing(ends["close_notify"], ended))
	body := strings.Repeat("x", 100_000)
	for range 5 {
		f.do(f.post(http1.ByLength, int64(len(body)), strings.NewReader(body), false)).expect(t, 200, "ok")
		<-ended
	}
	if s := f.server.Stats(); s.Requests != 5 {
		t.Errorf("the server saw %d requests, want 5", s.Requests)
	}
}

func TestIdleConnectionThatItsServerClosedIsClosedToo(t *testing.T) {
	ended := make(chan struct{}, 1)
	f := start(t, closing(ends["FIN"], ended))
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.server.Wait(t, "our end to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestAnotherEndpointIsTriedWhenOneCannotBeReached(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := dead.Addr().String()
	dead.Close()
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		o.Endpoints = append(options(address).Endpoints, o.Endpoints...)
		o.MaxIdle = 0
	})
	for range 4 {
		f.do(f.request("POST")).expect(t, 200, "ok")
	}
}

func TestEndpointThatCannotBeReachedIsShunnedForAWhile(t *testing.T) {
	var refused atomic.Int32
	dead := netip.MustParseAddrPort("127.0.0.1:1")
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		o.Endpoints = append(options(dead.String()).Endpoints, o.Endpoints...)
		o.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			if a == dead {
				refused.Add(1)
				return nil, errors.New("refused")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", a.String())
		}
	})
	for range 10 {
		f.do(f.request("POST")).expect(t, 200, "ok")
	}
	if n := refused.Load(); n != 1 {
		t.Errorf("it was tried %d times, want once", n)
	}
}

func TestUnreachableUpstream(t *testing.T) {
	refuse := func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("refused") }
	f := start(t, nil, func(o *tlsclient.Options) { o.Dial = refuse })
	f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultUpstream)
}

func TestOwnLimitIsNotTheUpstreamsFault(t *testing.T) {
	full := func(context.Context, netip.AddrPort) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	f := start(t, nil, func(o *tlsclient.Options) { o.Dial = full })
	f.do(f.request("GET")).refused(t, tlsclient.Overloaded, tlsclient.FaultSelf)
}

func TestConnectTimeout(t *testing.T) {
	stuck := func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f := start(t, nil, func(o *tlsclient.Options) { o.Dial, o.ConnectTimeout = stuck, 50*time.Millisecond })
	f.do(f.request("GET")).refused(t, tlsclient.ConnectTimeout, tlsclient.FaultUpstream)
}

func TestAbandonedWhileConnecting(t *testing.T) {
	var dials atomic.Int32
	stuck := func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		dials.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	gone := errors.New("gone")
	f := start(t, nil, func(o *tlsclient.Options) { o.Dial, o.ConnectTimeout = stuck, time.Minute })
	f.client.abandoned.Store(&gone)
	if a := f.do(f.request("GET")); !errors.Is(a.err, gone) {
		t.Errorf("got %v, want the client's own error", a.err)
	}
	if dials.Load() != 1 {
		t.Errorf("%d dials, want 1", dials.Load())
	}
}

// A slow upstream is not a dead connection: asking again would only add to its load.
func TestRequestIsNotRepeatedAfterATimeout(t *testing.T) {
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil || c.Write(tlstest.OK) != nil {
			return
		}
		if _, err := c.ReadRequest(); err == nil {
			c.WaitClosed()
		}
	}, func(o *tlsclient.Options) { o.HeaderTimeout = 100 * time.Millisecond })
	f.do(f.request("GET")).expect(t, 200, "ok")
	a := f.do(f.request("DELETE"))
	a.refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
	if s := f.server.Stats(); s.Requests != 2 || a.Attempts != 1 {
		t.Errorf("the server saw %d requests in %d attempts, want 2 in 1", s.Requests, a.Attempts)
	}
}
