package demo

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience bounds every step.
const patience = 5 * time.Second

// step shows one thing and checks it.
type step struct {
	title   string
	command string // that does the same, if there is one
	run     func(*demo, context.Context) (string, error)
}

// list is what is shown, in this order.
func (d *demo) list() []step {
	return []step{
		{"the upstream talks to nobody who shows no client certificate", d.direct(), (*demo).refused},
		{"plain HTTP to the daemon: the upstream sees the client certificate", d.curl("-i", d.url("/")), (*demo).overTCP},
		{"the same over a unix socket", d.curl("-i", "--unix-socket", d.unix, "http://localhost/"), (*demo).overUnix},
		{"the daemon as a forward proxy, so that a program keeps its URLs", d.curl("-i", "-x", d.url(""), "http://"+serverName+"/"), (*demo).asForwardProxy},
		{"a body goes there and comes back", d.curl("-i", "-d", bodyText, d.url("/echo")), (*demo).body},
		{"an error of the upstream passes as it is", d.curl("-i", d.url("/status/503")), (*demo).upstreamError},
		{"an error of the daemon carries Mtlsproxy-Error", d.curl("-i", "-H", "Host: elsewhere.demo", d.url("/")), (*demo).noRoute},
		{"a websocket", "", (*demo).webSocket},
		{"connections to the upstream are kept and shared", "", (*demo).reuse},
	}
}

// steps goes through the list. It returns ErrFailed unless all went as it should.
func (d *demo) steps() error {
	failed := 0
	list := d.list()
	for i, s := range list {
		d.print.line("")
		d.print.line("%d. %s", i+1, s.title)
		if s.command != "" {
			d.print.line("  $ %s", s.command)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		shown, err := s.run(d, ctx)
		cancel()
		for line := range strings.Lines(shown) {
			d.print.line("    %s", strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			failed++
			d.print.line("  failed: %v", err)
			continue
		}
		d.print.line("  ok")
	}
	requests, conns := d.upstream.totals()
	d.print.line("")
	d.print.line("%d of %d steps went as they should; the upstream saw %d requests over %d connections",
		len(list)-failed, len(list), requests, conns)
	if failed > 0 {
		return ErrFailed
	}
	return nil
}

// client is an application: it knows nothing of TLS.
func (d *demo) client(change func(*http.Transport)) *http.Client {
	t := &http.Transport{DisableCompression: true}
	if change != nil {
		change(t)
	}
	return &http.Client{Transport: t}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	text string
}

// show is the answer as a person wants to see it.
func (a *answer) show(fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", a.Proto, a.Status)
	for _, name := range fields {
		if v := a.Header.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	return b.String() + "\n" + a.text
}

// brief is show with only those lines of the text that begin with one of the names.
func (a *answer) brief(names ...string) string {
	b := *a
	b.text = ""
	for line := range strings.Lines(a.text) {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(line, name) }) {
			b.text += line
		}
	}
	return b.show() + "...\n"
}

// ask sends a request with a client of its own and reads the whole answer.
func ask(ctx context.Context, c *http.Client, method, url, body string) (*answer, error) {
	defer c.CloseIdleConnections()
	return exchange(ctx, c, method, url, body)
}

func exchange(ctx context.Context, c *http.Client, method, url, body string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if host, ok := ctx.Value(hostKey{}).(string); ok {
		req.Host = host
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end, or the error is returned
	text, err := io.ReadAll(resp.Body)
	return &answer{resp, string(text)}, err
}

type hostKey struct{}

// refused asks the upstream itself, with no certificate to show.
func (d *demo) refused(ctx context.Context) (string, error) {
	c := d.client(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: d.pki.roots, MinVersion: tls.VersionTLS12}
	})
	a, err := ask(ctx, c, http.MethodGet, "https://"+d.upstream.addr+"/", "")
	if err == nil {
		return a.show(), errors.New("want a refusal, got an answer")
	}
	if !strings.Contains(err.Error(), "certificate required") {
		return "", fmt.Errorf("want the alert certificate_required, got: %w", err)
	}
	return "the upstream ended the handshake: certificate required\n", nil
}

func (d *demo) overTCP(ctx context.Context) (string, error) {
	a, err := ask(ctx, d.client(nil), http.MethodGet, d.url("/"), "")
	if err != nil {
		return "", err
	}
	return a.show("Via"), errors.Join(d.told(a), want(a, "x-forwarded-for:", "127.0.0.1"))
}

func (d *demo) overUnix(ctx context.Context) (string, error) {
	c := d.client(func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.unix)
		}
	})
	a, err := ask(ctx, c, http.MethodGet, "http://localhost/", "")
	if err != nil {
		return "", err
	}
	return a.brief("client", "its serial", "connection", "forwarded"), d.told(a)
}

func (d *demo) asForwardProxy(ctx context.Context) (string, error) {
	c := d.client(func(t *http.Transport) {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: d.tcp})
	})
	a, err := ask(ctx, c, http.MethodGet, "http://"+serverName+"/", "")
	if err != nil {
		return "", err
	}
	return a.brief("client", "its serial", "connection", "forwarded"), errors.Join(d.told(a), want(a, "x-forwarded-host:", serverName))
}

const bodyText = "to be forwarded, or not to be"

func (d *demo) body(ctx context.Context) (string, error) {
	a, err := ask(ctx, d.client(nil), http.MethodPost, d.url("/echo"), bodyText)
	if err != nil {
		return "", err
	}
	shown := a.show("Content-Length") + "\n"
	if a.StatusCode != http.StatusOK || a.text != bodyText {
		return shown, fmt.Errorf("want 200 and the body, got %d and %q", a.StatusCode, a.text)
	}
	return shown, nil
}

func (d *demo) upstreamError(ctx context.Context) (string, error) {
	a, err := ask(ctx, d.client(nil), http.MethodGet, d.url("/status/503"), "")
	if err != nil {
		return "", err
	}
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Mtlsproxy-Error") != "" {
		return a.show("Mtlsproxy-Error"), errors.New("want 503 without Mtlsproxy-Error")
	}
	return a.show(), nil
}

func (d *demo) noRoute(ctx context.Context) (string, error) {
	before, _ := d.upstream.totals()
	a, err := ask(context.WithValue(ctx, hostKey{}, "elsewhere.demo"), d.client(nil), http.MethodGet, d.url("/"), "")
	if err != nil {
		return "", err
	}
	shown := a.show("Mtlsproxy-Error")
	if a.StatusCode != http.StatusNotFound || a.Header.Get("Mtlsproxy-Error") != "no_route" {
		return shown, errors.New("want 404 with Mtlsproxy-Error: no_route")
	}
	if after, _ := d.upstream.totals(); after != before {
		return shown, errors.New("the request reached the upstream")
	}
	return shown, nil
}

// told checks that the upstream saw our certificate over TLS 1.3, and what it was
// told of the client.
func (d *demo) told(a *answer) error {
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("want 200, got %s", a.Status)
	}
	return errors.Join(
		want(a, "client certificate:", d.pki.client.Subject.String()),
		want(a, "its serial:", fmt.Sprintf("%x", d.pki.client.SerialNumber)),
		want(a, "tls:", "TLS 1.3"),
		want(a, "via:", "1.1 mtlsproxy-"),
		want(a, "x-forwarded-proto:", "http"),
		want(a, "x-request-id:", ""),
	)
}

// want looks for a line of the upstream's answer.
func want(a *answer, name, value string) error {
	for line := range strings.Lines(a.text) {
		if rest, ok := strings.CutPrefix(line, name); ok && strings.HasPrefix(strings.TrimSpace(rest), value) {
			return nil
		}
	}
	return fmt.Errorf("the upstream did not see %s %s", name, value)
}

func (d *demo) webSocket(ctx context.Context) (string, error) {
	c := d.client(nil)
	defer c.CloseIdleConnections()
	var random [20]byte
	rand.Read(random[:])
	key, mask := base64.StdEncoding.EncodeToString(random[:16]), random[16:]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url("/websocket"), nil)
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": key,
	} {
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // closes the tunnel
	shown := fmt.Sprintf("%s %s\n", resp.Proto, resp.Status)
	tunnel, ok := resp.Body.(io.ReadWriter)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok || resp.Header.Get("Sec-Websocket-Accept") != acceptKey(key) {
		return shown, errors.New("want 101 with the right Sec-WebSocket-Accept")
	}
	const text = "hello"
	if err := writeFrame(tunnel, finalBit|opText, []byte(text), mask); err != nil {
		return shown, err
	}
	first, echoed, err := readFrame(bufio.NewReader(tunnel))
	if err != nil {
		return shown, err
	}
	shown += fmt.Sprintf("sent %q, got %q\n", text, echoed)
	if first != finalBit|opText || string(echoed) != text {
		return shown, errors.New("want the same back")
	}
	return shown, nil
}

// How reuse asks.
const (
	reuseClients  = 4
	reuseRequests = 50 // of each
)

// reuse sends many requests from a few clients at once. There are never more
// connections to the upstream than exchanges under way.
func (d *demo) reuse(ctx context.Context) (string, error) {
	requestsBefore, connsBefore := d.upstream.totals()
	begun := time.Now()
	errs := make([]error, reuseClients)
	var clients sync.WaitGroup
	for i := range reuseClients {
		clients.Go(func() { errs[i] = d.askRepeatedly(ctx) })
	}
	clients.Wait()
	took := time.Since(begun)
	requests, conns := d.upstream.totals()
	requests, conns = requests-requestsBefore, conns-connsBefore
	shown := fmt.Sprintf("%d requests from %d clients in %v: %d new connections to the upstream\n",
		requests, reuseClients, took.Round(time.Millisecond), conns)
	if err := errors.Join(errs...); err != nil {
		return shown, err
	}
	if requests != reuseClients*reuseRequests || conns > reuseClients {
		return shown, fmt.Errorf("want %d requests over at most %d new connections", reuseClients*reuseRequests, reuseClients)
	}
	return shown, nil
}

func (d *demo) askRepeatedly(ctx context.Context) error {
	c := d.client(nil)
	defer c.CloseIdleConnections()
	for range reuseRequests {
		a, err := exchange(ctx, c, http.MethodGet, d.url("/"), "")
		if err != nil {
			return err
		}
		if a.StatusCode != http.StatusOK {
			return fmt.Errorf("want 200, got %s", a.Status)
		}
	}
	return nil
}
