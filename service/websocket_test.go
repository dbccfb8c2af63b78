package service_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

const (
	upgradeFields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	switched      = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

// tunnelScript switches and hands the connection over.
func tunnelScript(f func(*tlstest.Conn)) tlstest.Script {
	return func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil || c.Write(switched) != nil {
			return
		}
		f(c)
	}
}

// upgrade turns the connection into a tunnel.
func (c *client) upgrade() {
	c.tb.Helper()
	if a := c.get("/ws", strings.TrimSuffix(upgradeFields, "\r\n")); a.status != http.StatusSwitchingProtocols {
		c.tb.Fatalf("no upgrade: %+v", a)
	}
}

func TestWebSocketMessagesPassBothWays(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := tlstest.NewHTTPServer(t, p.ca, websocket.Handler(func(ws *websocket.Conn) {
		var message string
		for websocket.Message.Receive(ws, &message) == nil && websocket.Message.Send(ws, message) == nil {
		}
	}))
	d := p.daemon(t, upstream)
	for name, dial := range map[string]func(*daemon) *client{"tcp": (*daemon).dial, "unix": (*daemon).dialUnix} {
		t.Run(name, func(t *testing.T) {
			c := dial(d)
			config, err := websocket.NewConfig("ws://a/ws", "http://a/")
			if err != nil {
				t.Fatal(err)
			}
			ws, err := websocket.NewClient(config, c.conn)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			ws.SetDeadline(time.Now().Add(patience))
			for _, message := range []string{"hello", "", strings.Repeat("x", 100_000), "bye"} {
				var echo string
				if err := websocket.Message.Send(ws, message); err != nil {
					t.Fatal(err)
				}
				if err := websocket.Message.Receive(ws, &echo); err != nil || echo != message {
					t.Fatalf("of %d bytes %d came back: %v", len(message), len(echo), err)
				}
			}
		})
	}
}

func TestTunnelKeepsTheOtherDirectionAfterAHalfClose(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for name, dial := range map[string]func(*daemon) *client{"tcp": (*daemon).dial, "unix": (*daemon).dialUnix} {
		t.Run("of the client on "+name, func(t *testing.T) {
			d := p.daemon(t, p.upstream(t, tunnelScript(func(c *tlstest.Conn) {
				all, _ := io.ReadAll(c.R)
				c.Write("got " + string(all))
			})))
			c := dial(d)
			c.upgrade()
			c.send("hello")
			c.closeWrite()
			c.readUntil("got hello")
			c.ended()
		})
		t.Run("of the upstream on "+name, func(t *testing.T) {
			got := make(chan string, 1)
			d := p.daemon(t, p.upstream(t, tunnelScript(func(c *tlstest.Conn) {
				c.Write("hello")
				c.TLS.CloseWrite()
				all, _ := io.ReadAll(c.R)
				got <- string(all)
			})))
			c := dial(d)
			c.upgrade()
			c.readUntil("hello")
			if c.ended() {
				t.Error("the connection was reset")
			}
			c.send("late")
			c.closeWrite()
			if all := <-got; all != "late" {
				t.Errorf("the upstream received %q", all)
			}
		})
	}
}

func TestTunnelCarriesWhatCameWithTheUpgrade(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tunnelScript(func(c *tlstest.Conn) {
		c.Write("first")
		io.Copy(c.TLS, c.R)
	})))
	c := d.dial()
	c.send("GET /ws HTTP/1.1\r\nHost: a\r\n" + upgradeFields + "\r\nsecond")
	if a := c.final(http.MethodGet); a.status != 101 {
		t.Fatalf("got %+v", a)
	}
	c.readUntil("firstsecond")
}

func TestTunnelEndsAfterSilence(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { io.Copy(c.TLS, c.R) }))
	d := p.daemon(t, upstream, "upstream.default.timeout.tunnel=200ms")
	c := d.dial()
	c.upgrade()
	for range 8 { // twice the bound in all, but no silence
		c.send("x")
		c.readUntil("x")
		pause(short / 4)
	}
	start := time.Now()
	c.ended()
	if d := time.Since(start); d > short+3*time.Second {
		t.Errorf("the tunnel ended after %v", d)
	}
	upstream.Wait(t, "the upstream's connection to close", func(st tlstest.Stats) bool { return st.Open == 0 })
}

func TestTunnelEndsWithEitherSide(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	t.Run("client", func(t *testing.T) {
		upstream := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { c.WaitClosed() }))
		d := p.daemon(t, upstream)
		c := d.dial()
		c.upgrade()
		c.reset()
		upstream.Wait(t, "the upstream's connection to close", func(st tlstest.Stats) bool { return st.Open == 0 })
	})
	t.Run("upstream", func(t *testing.T) {
		d := p.daemon(t, p.upstream(t, tunnelScript(func(c *tlstest.Conn) { c.End(tlstest.Reset) })))
		c := d.dial()
		c.upgrade()
		c.ended()
	})
}

func TestUpgradeThatTheRouteDoesNotAllowIsIgnored(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Static(tlstest.OK))
	d := p.daemon(t, upstream, "route.default.upgrade=[]")
	if a := d.dial().get("/ws", strings.TrimSuffix(upgradeFields, "\r\n")); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if received := string(upstream.Received()); strings.Contains(received, "\r\nUpgrade:") {
		t.Errorf("the upstream received %q", received)
	}
}

// The timer that ends silent tunnels may fire while one ends by itself. It must
// not reach what serves another exchange by then.
func TestTunnelsThatEndAsTheirTimeRunsOut(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { c.WaitClosed() }))
	d := p.daemon(t, upstream, `upstream.default.timeout.tunnel="20ms"`)
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for j := range 10 {
				c := d.dial()
				c.upgrade()
				<-time.After(19*time.Millisecond + time.Duration((i*10+j)%20)*100*time.Microsecond)
				c.conn.Close()
			}
		})
	}
	clients.Wait()
	if a := d.dial().get("/after", strings.TrimSuffix(upgradeFields, "\r\n")); a.status != http.StatusSwitchingProtocols {
		t.Errorf("the daemon does not serve any more: %+v", a)
	}
}
