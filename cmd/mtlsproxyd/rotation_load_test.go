package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// What a download is made of: a piece each tenth of a second, for three seconds.
const (
	downloadPiece  = 16 << 10
	downloadPieces = 30
	downloadPace   = 100 * time.Millisecond
)

// newUpstream starts an upstream that takes the clients of ca only.
func newUpstream(t *testing.T, ca *tlstest.CA) *tlstest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		if r.FormValue("last") != "" { // of its connection
			w.Header().Set("Connection", "close")
		}
		send(w, noise(n, n), false)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		send(w, body, false)
	})
	mux.HandleFunc("GET /download", download)
	mux.Handle("GET /websocket", websocket.Handler(func(ws *websocket.Conn) {
		var message string
		for websocket.Message.Receive(ws, &message) == nil && websocket.Message.Send(ws, message) == nil {
		}
	}))
	return tlstest.NewHTTPServer(t, ca, mux)
}

func send(w http.ResponseWriter, body []byte, chunked bool) {
	if !chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	_, _ = w.Write(body)
}

// download sends piece after piece, with a length or in chunks.
func download(w http.ResponseWriter, r *http.Request) {
	seed, _ := strconv.Atoi(r.FormValue("seed"))
	body := noise(seed, downloadPiece*downloadPieces)
	if seed%2 == 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	begun := time.Now()
	for i := range downloadPieces {
		if _, err := w.Write(body[i*downloadPiece:][:downloadPiece]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(time.Until(begun.Add(time.Duration(i+1) * downloadPace))):
		case <-r.Context().Done():
			return
		}
	}
}

// noise is n bytes that nothing else looks like.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(strconv.Itoa(seed)))).Read(b)
	return b
}

// tally counts the requests of one kind.
type tally struct {
	mu                    sync.Mutex
	requests, failed, cut int
	complaints            []string
}

func (c *tally) add(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if err == nil {
		return
	}
	c.failed++
	if errors.Is(err, errCut) {
		c.cut++
	}
	if len(c.complaints) < 10 {
		c.complaints = append(c.complaints, fmt.Sprintf("%s %s: %v", time.Now().UTC().Format("15:04:05.000"), what, err))
	}
}

// application is one that keeps its connection to the daemon.
type application struct {
	host, addr string
	client     *http.Client
	closed     atomic.Int32 // connections that the daemon has ended
}

func newApplication(addr, host string) *application {
	a := &application{host: host, addr: addr}
	a.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		MaxConnsPerHost: 1, DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &kept{c, &a.closed}, nil
		},
	}}
	return a
}

// close ends it, and complains if the daemon has closed a connection before: net/http
// repeats some requests on another one by itself, which would hide that they failed.
func (a *application) close() error {
	a.client.CloseIdleConnections()
	if n := a.closed.Load(); n > 0 {
		return fmt.Errorf("%s: the daemon has closed the connection of a client %d times", a.host, n)
	}
	return nil
}

// kept is a connection that counts it if the other side ends it.
type kept struct {
	net.Conn
	closed *atomic.Int32
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.Conn.Read(p)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		k.closed.Add(1)
	}
	return n, err
}

// errCut says that an answer began and was not complete.
var errCut = errors.New("cut")

// refusal is an answer other than 200.
type refusal struct {
	status      int
	class, text string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.class, r.text) }

// ask sends a request and checks that the answer is 200 with exactly that body.
func (a *application) ask(method, target string, body io.Reader, want []byte) error {
	req, err := http.NewRequest(method, "http://"+a.addr+target, body)
	if err != nil {
		return err
	}
	req.Host = a.host
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%w after %d of %d bytes: %w", errCut, len(got), len(want), err)
	case resp.StatusCode != http.StatusOK:
		return &refusal{resp.StatusCode, resp.Header.Get("Mtlsproxy-Error"), string(got)}
	case len(got) != len(want):
		return fmt.Errorf("%w: %d bytes, want %d", errCut, len(got), len(want))
	case sha256.Sum256(got) != sha256.Sum256(want):
		return errors.New("another body than was sent")
	}
	return nil
}

// get asks for n bytes.
func (a *application) get(n int) error {
	return a.ask("GET", "/bytes?n="+strconv.Itoa(n), nil, noise(n, n))
}

// post has n bytes sent back, with their length told before or not.
func (a *application) post(n int, chunked bool) error {
	data := noise(n, n)
	var body io.Reader = bytes.NewReader(data)
	if chunked {
		body = struct{ io.Reader }{body}
	}
	return a.ask("POST", "/echo", body, data)
}

// download takes three seconds.
func (a *application) download(seed int) error {
	return a.ask("GET", "/download?seed="+strconv.Itoa(seed), nil, noise(seed, downloadPiece*downloadPieces))
}

// load is traffic of all kinds at a steady rate.
type load struct {
	t         *testing.T
	stopping  chan struct{}
	finishing chan struct{} // no more downloads
	running   sync.WaitGroup
}

func newLoad(t *testing.T) *load {
	return &load{t: t, stopping: make(chan struct{}), finishing: make(chan struct{})}
}

// run has an application of its own do something again and again until it is to end.
func (l *load) run(addr, host string, c *tally, what string, every time.Duration, end chan struct{}, do func(a *application, n int) error) {
	l.running.Go(func() {
		a, begun := newApplication(addr, host), time.Now()
		for n := 0; ; n++ {
			select {
			case <-end:
				if err := a.close(); err != nil {
					l.t.Error(err)
				}
				return
			case <-time.After(max(time.Millisecond, time.Until(begun.Add(time.Duration(n)*every)))): // whoever is late catches up
				c.add(what, do(a, n))
			}
		}
	})
}

// Each application sends small requests: these are as many as there are of each kind.
const (
	getters = 4
	posters = 2
)

// mixed runs small requests to one host: GETs on kept connections, and POSTs with and
// without a length.
func (l *load) mixed(addr, host string, c *tally, every time.Duration) {
	for i := range getters {
		l.run(addr, host, c, "GET", every, l.stopping, func(a *application, n int) error { return a.get(i*97 + n%3*5000) })
	}
	for i := range posters {
		l.run(addr, host, c, "POST", every, l.stopping, func(a *application, n int) error { return a.post(1+n%40*1000, i%2 == 1) })
	}
}

// downloads runs one download after the other.
func (l *load) downloads(addr, host string, c *tally, seed int) {
	l.run(addr, host, c, "download", 0, l.finishing, func(a *application, n int) error { return a.download(seed + 2*n) })
}

// websocket has messages sent back all along, on one connection.
func (l *load) websocket(addr, host string, c *tally) {
	ws, err := dialWebSocket(addr, host)
	must(l.t, err)
	l.running.Go(func() {
		defer ws.Close()
		for n := 0; ; n++ {
			select {
			case <-l.stopping:
				return
			case <-time.After(20 * time.Millisecond):
				if err := echoes(ws, n); err != nil {
					c.add("websocket", err)
					return
				}
			}
		}
	})
}

func dialWebSocket(addr, host string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws://"+host+"/websocket", "http://"+host+"/")
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		conn.Close()
	}
	return ws, err
}

// echoes sends a message and wants it back.
func echoes(ws *websocket.Conn, n int) error {
	message, got := string(noise(n, n%3000)), ""
	_ = ws.SetDeadline(time.Now().Add(10 * time.Second))
	if err := websocket.Message.Send(ws, []byte(message)); err != nil {
		return err
	}
	if err := websocket.Message.Receive(ws, &got); err != nil {
		return err
	}
	if got != message {
		return errors.New("another message came back")
	}
	return nil
}

// finish lets downloads come to their end while the rest goes on for at least that long.
func (l *load) finish(d time.Duration) {
	close(l.finishing)
	pause(d)
	close(l.stopping)
	l.running.Wait()
}
