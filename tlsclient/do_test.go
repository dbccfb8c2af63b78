package tlsclient_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func TestExchangesShareAConnection(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.Response(200, "hello")))
	for i := range 5 {
		a := f.do(f.request("GET"))
		a.expect(t, 200, "hello")
		if a.Reused != (i > 0) || a.Attempts != 1 {
			t.Errorf("exchange %d: reused %v in %d attempts", i, a.Reused, a.Attempts)
		}
	}
	if s := f.server.Stats(); s.Accepted != 1 {
		t.Errorf("%d connections, want 1", s.Accepted)
	}
}

func TestBodiesArriveWhole(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20_000)
	for name, response := range map[string]string{
		"by length": fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long),
		"chunked":   fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long),
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tlstest.Static(response))
			for range 3 {
				f.do(f.request("GET")).expect(t, 200, long)
			}
			if s := f.server.Stats(); s.Accepted != 1 {
				t.Errorf("%d connections, want 1", s.Accepted)
			}
		})
	}
}

func TestBodyThatEndsWithTheConnection(t *testing.T) {
	t.Run("with close_notify is complete", func(t *testing.T) {
		f := start(t, tlstest.UntilClose(5, tlstest.CloseNotify))
		f.do(f.request("GET")).expect(t, 200, "xxxxx")
	})
	t.Run("without close_notify is cut short", func(t *testing.T) {
		f := start(t, tlstest.UntilClose(5, tlstest.TCPClose))
		f.do(f.request("GET")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	})
}

func TestTruncatedBodyIsAnError(t *testing.T) {
	for _, end := range []tlstest.End{tlstest.CloseNotify, tlstest.TCPClose, tlstest.Reset} {
		for name, script := range map[string]tlstest.Script{
			"by length": tlstest.TruncateBody(100, end), "chunked": tlstest.TruncateChunked(100, end),
		} {
			t.Run(fmt.Sprintf("%s, end %d", name, end), func(t *testing.T) {
				f := start(t, script)
				f.do(f.request("GET")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
			})
		}
	}
}

func TestConnectionThatEndsBeforeTheResponse(t *testing.T) {
	for name, script := range map[string]tlstest.Script{
		"at once":         tlstest.CloseBeforeResponse(tlstest.CloseNotify),
		"by reset":        tlstest.CloseBeforeResponse(tlstest.Reset),
		"within the head": tlstest.CloseWithinHead(tlstest.TCPClose),
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, script)
			f.do(f.request("GET")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
			if s := f.server.Stats(); s.Requests != 1 {
				t.Errorf("the server saw %d requests on fresh connections, want 1", s.Requests)
			}
		})
	}
}

func TestBadResponseIsTheUpstreamsFault(t *testing.T) {
	for name, response := range map[string]string{
		"status line":            "HTTP/1.1 2000 OK\r\n\r\n",
		"bare LF":                "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
		"both framings":          "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unasked upgrade":        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"endless head":           "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"17 interim responses":   strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 17) + tlstest.OK,
		"chunk framing":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"more than 100 fields":   "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 101) + "Content-Length: 0\r\n\r\n",
		"length not a number":    "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
		"chunked in an old head": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tlstest.Static(response))
			f.do(f.request("GET")).refused(t, tlsclient.UpstreamBadResponse, tlsclient.FaultUpstream)
			f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
		})
	}
}

func TestHeadGrowsBeyondOneBuffer(t *testing.T) {
	value := strings.Repeat("v", 40<<10)
	f := start(t, tlstest.Static("HTTP/1.1 200 OK\r\nX-Long: "+value+"\r\nContent-Length: 2\r\n\r\nok"))
	for range 2 {
		a := f.do(f.request("GET"))
		a.expect(t, 200, "ok")
	}
	if s := f.server.Stats(); s.Accepted != 1 {
		t.Errorf("%d connections, want 1", s.Accepted)
	}
}

func TestInformationalResponsesArePassedOn(t *testing.T) {
	f := start(t, tlstest.Informational(16, tlstest.OK))
	f.do(f.request("GET")).expect(t, 200, "ok")
	if n := len(f.client.informational); n != 16 {
		t.Errorf("%d informational responses, want 16", n)
	}
}

// Surplus bytes must never become the response to another request, wherever
// they wait: in the same record, in a record of their own, or still in the socket.
func TestSurplusBytesEndTheConnection(t *testing.T) {
	evil := tlstest.Response(200, "evil")
	for name, script := range map[string]tlstest.Script{
		"in one record":        tlstest.Static(tlstest.OK + evil),
		"in a second record":   tlstest.Surplus(tlstest.OK, evil),
		"after a HEAD request": tlstest.Surplus("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "evil"),
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, script)
			method, want := "GET", "ok"
			if strings.Contains(name, "HEAD") {
				method, want = "HEAD", ""
			}
			for range 3 {
				f.do(f.request(method)).expect(t, 200, want)
			}
			f.server.Wait(t, "three connections", func(s tlstest.Stats) bool { return s.Accepted == 3 })
		})
	}
}

// Here both records come in one segment: the second is in crypto/tls before the
// first response is done, where looking at the socket does not find it.
func TestSurplusRecordInTheSameSegmentEndsTheConnection(t *testing.T) {
	f := start(t, func(c *tlstest.Conn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			cork(t, c, 1)
			err := c.Write(tlstest.OK, tlstest.Response(200, "evil"))
			cork(t, c, 0)
			if err != nil {
				return
			}
		}
	})
	for range 3 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
}

// cork makes the kernel gather what is written into full segments, or not.
func cork(t *testing.T, c *tlstest.Conn, on int) {
	raw, err := c.TCP.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Error(err)
	}
}

func TestResponseThatAnnouncesTheEndIsNotReused(t *testing.T) {
	for name, response := range map[string]string{
		"Connection: close": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":          "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tlstest.Static(response))
			f.do(f.request("GET")).expect(t, 200, "ok")
			f.do(f.request("GET")).expect(t, 200, "ok")
			if s := f.server.Stats(); s.Accepted != 2 {
				t.Errorf("%d connections, want 2", s.Accepted)
			}
		})
	}
}

func TestResponseClosedHalfReadEndsTheConnection(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.Response(200, strings.Repeat("x", 100_000))))
	var r tlsclient.Response
	if err := f.upstream.Do(f.request("GET"), &r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close() // harmless
	f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestTimeouts(t *testing.T) {
	short := 150 * time.Millisecond
	half := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n%s", strings.Repeat("x", 50))
	hang := func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil && c.Write(half) == nil {
			c.WaitClosed()
		}
	}
	for name, c := range map[string]struct {
		script tlstest.Script
		change func(*tlsclient.Options)
	}{
		"no head":        {tlstest.NeverAnswer(), func(o *tlsclient.Options) { o.HeaderTimeout = short }},
		"head by bytes":  {tlstest.Slow(50*time.Millisecond, tlstest.OK), func(o *tlsclient.Options) { o.HeaderTimeout = short }},
		"pause in body":  {hang, func(o *tlsclient.Options) { o.BodyIdleTimeout = short }},
		"all in all":     {tlstest.NeverAnswer(), func(o *tlsclient.Options) { o.TotalTimeout = short }},
		"total, in body": {hang, func(o *tlsclient.Options) { o.TotalTimeout = short }},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, c.script, c.change)
			f.do(f.request("GET")).refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
		})
	}
}

// A record that comes byte by byte is no sign of life: nothing of the head can be
// read before it is whole.
func TestDrippedRecordDoesNotProlongTheWait(t *testing.T) {
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		c.TCP.Write([]byte{23, 3, 3, 1, 0}) // the header of a record of 256 bytes
		for c.Pause(50 * time.Millisecond) {
			if _, err := c.TCP.Write([]byte{0}); err != nil {
				return
			}
		}
	}, func(o *tlsclient.Options) { o.HeaderTimeout = 200 * time.Millisecond })
	begin := time.Now()
	f.do(f.request("GET")).refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
}

// A server may speak first, but that is not the answer to anything. Here its words come
// in one segment with the end of the handshake, so that they are there before the request.
func TestResponseBeforeTheRequestIsRefused(t *testing.T) {
	var speaking *tlstest.Conn
	f := startServer(t, tlstest.ServerOptions{
		Version:         tls.VersionTLS12,
		BeforeHandshake: func(c *tlstest.Conn) bool { speaking = c; return true }, // one after the other
		Adjust: func(config *tls.Config) {
			config.SessionTicketsDisabled = true // a resumed handshake ends with the client's word
			config.VerifyConnection = func(tls.ConnectionState) error { cork(t, speaking, 1); return nil }
		},
		Script: func(c *tlstest.Conn) {
			err := c.Write(tlstest.Response(200, "unasked"))
			cork(t, c, 0)
			if err == nil {
				tlstest.Static(tlstest.OK)(c)
			}
		},
	})
	for range 5 {
		f.do(f.request("POST")).refused(t, tlsclient.UpstreamBadResponse, tlsclient.FaultUpstream)
	}
	if s := f.server.Stats(); s.Requests != 0 {
		t.Errorf("the server saw %d requests, want none", s.Requests)
	}
}

func TestAbandonedExchangeEndsSoon(t *testing.T) {
	gone := errors.New("gone")
	f := start(t, tlstest.NeverAnswer())
	f.client.abandoned.Store(&gone)
	begin := time.Now()
	if a := f.do(f.request("GET")); !errors.Is(a.err, gone) {
		t.Fatalf("got %v, want the client's own error", a.err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
	f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestIdentityMissing(t *testing.T) {
	u := tlsclient.NewUpstream(options("127.0.0.1:1"))
	defer u.Close()
	f := &fixture{upstream: u}
	f.do(f.request("GET")).refused(t, tlsclient.IdentityUnavailable, tlsclient.FaultSelf)
}

func TestClosedUpstream(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.upstream.Close()
	f.do(f.request("GET")).refused(t, tlsclient.Draining, tlsclient.FaultSelf)
	f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestRequestIsSentUnderOurFraming(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{Script: tlstest.Static(tlstest.OK)})
	req := f.post(http1.Chunked, 0, strings.NewReader("3\r\nabc\r\n0\r\nX-T: v\r\n\r\n"), true)
	req.Fields = []http1.Field{{Name: []byte("A"), Value: []byte("b")}, {Name: []byte("Gone"), Value: []byte("c"), Drop: true}}
	f.do(req).expect(t, 200, "ok")
	seen := f.server.Requests()[0]
	want := "POST / HTTP/1.1\r\nHost: upstream.test\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"
	if string(seen.Head) != want || string(seen.Body) != "abc" {
		t.Errorf("got %q %q", seen.Head, seen.Body)
	}
}
