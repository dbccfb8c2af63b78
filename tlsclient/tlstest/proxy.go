package tlstest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// ProxyOptions describe an HTTP proxy that only knows CONNECT. None is required.
type ProxyOptions struct {
	// Target is where tunnels lead, host:port; default: where the client asks for.
	Target string
	// Answer replaces the whole answer; one that is not a 2xx ends the connection.
	Answer string
	// Silent proxies take the request and say nothing.
	Silent bool
}

// A Proxy tunnels connections.
type Proxy struct {
	Addr string

	opts     ProxyOptions
	listener net.Listener
	stopping context.Context
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu   sync.Mutex
	seen []*http.Request
}

// NewProxy starts a proxy, which stops with the test.
func NewProxy(tb testing.TB, opts ProxyOptions) *Proxy {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("starting a test proxy: %v", err)
	}
	p := &Proxy{Addr: listener.Addr().String(), opts: opts, listener: listener}
	p.stopping, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		p.stop()
		p.listener.Close()
		p.running.Wait()
	})
	return p
}

// Requests returns the heads of what the proxy was asked, in order of arrival.
func (p *Proxy) Requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.seen...)
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() {
			defer context.AfterFunc(p.stopping, func() { c.Close() })()
			defer c.Close()
			p.serve(c)
		})
	}
}

func (p *Proxy) serve(c net.Conn) {
	reader := bufio.NewReader(c)
	r, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.seen = append(p.seen, r)
	p.mu.Unlock()
	switch {
	case p.opts.Silent:
		io.Copy(io.Discard, c)
		return
	case p.opts.Answer != "":
		io.WriteString(c, p.opts.Answer)
		return
	}
	target := p.opts.Target
	if target == "" {
		target = r.Host
	}
	up, err := new(net.Dialer).DialContext(p.stopping, "tcp", target)
	if err != nil {
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer context.AfterFunc(p.stopping, func() { up.Close() })()
	defer up.Close()
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\nX-Field: y\r\n\r\n")
	var one sync.WaitGroup
	one.Go(func() {
		copyPlainly(up, reader)
		up.(*net.TCPConn).CloseWrite()
	})
	copyPlainly(c, up)
	c.(*net.TCPConn).CloseWrite()
	one.Wait()
}

// copyPlainly does without splice(2), whose pipes the runtime keeps: they would look like files that are left open.
func copyPlainly(to io.Writer, from io.Reader) {
	io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}
