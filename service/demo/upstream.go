package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// upstream is a service that talks to nobody without a client certificate.
type upstream struct {
	server   *http.Server
	addr     string
	narrate  func(string)
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	upgraded sync.WaitGroup

	mu       sync.Mutex
	requests int
	conns    int // that carried a request
}

// startUpstream listens on a free port of 127.0.0.1. narrate is told of every
// request. A handler takes the place of the one that tells what it sees.
func startUpstream(p *pki, handler http.Handler, narrate func(string)) (*upstream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	u := &upstream{addr: l.Addr().String(), narrate: narrate, cancel: cancel}
	if handler == nil {
		handler = u.routes()
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	u.server = &http.Server{
		Handler: u.counted(handler),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{p.server},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    p.roots,
			MinVersion:   tls.VersionTLS12,
		},
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // it would tell of the refused handshake, which is shown anyway
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, new(connection))
		},
	}
	u.serving.Go(func() {
		if err := u.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			u.narrate("the upstream has ended: " + err.Error())
		}
	})
	return u, nil
}

// close ends the upstream and every connection to it.
func (u *upstream) close() error {
	u.cancel()
	err := u.server.Close()
	u.serving.Wait()
	u.upgraded.Wait()
	return err
}

// totals returns how many requests came, and over how many connections.
func (u *upstream) totals() (requests, conns int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests, u.conns
}

// connection numbers the connections that carry requests.
type connection struct{ number, requests int }

type connKey struct{}

// count returns which connection a request came over, and its place on it.
func (u *upstream) count(r *http.Request) connection {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ok := r.Context().Value(connKey{}).(*connection)
	if !ok {
		return connection{}
	}
	if c.number == 0 {
		u.conns++
		c.number = u.conns
	}
	c.requests++
	u.requests++
	return *c
}

type placeKey struct{}

// counted wraps a handler to count and narrate.
func (u *upstream) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		place := u.count(r)
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(status, r.WithContext(context.WithValue(r.Context(), placeKey{}, place)))
		u.narrate(fmt.Sprintf("upstream: %s %s over connection %d -> %d", r.Method, r.URL.Path, place.number, status.status))
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the rest.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (u *upstream) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", tell)
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/status/{code}", status)
	mux.HandleFunc("/websocket", u.websocket)
	return mux
}

// told are the header fields that tell writes out.
var told = []string{"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id"}

// tell writes what the upstream sees of a request.
func tell(w http.ResponseWriter, r *http.Request) {
	place, _ := r.Context().Value(placeKey{}).(connection)
	client := r.TLS.PeerCertificates[0]
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-19s %s\n", name+":", value) }
	line("client certificate", client.Subject.String())
	line("its serial", fmt.Sprintf("%x", client.SerialNumber))
	line("its issuer", client.Issuer.String())
	line("tls", tls.VersionName(r.TLS.Version)+", "+tls.CipherSuiteName(r.TLS.CipherSuite))
	line("connection", fmt.Sprintf("number %d, request %d on it", place.number, place.requests))
	line("request", r.Method+" "+r.RequestURI+", host "+r.Host)
	for _, name := range told {
		if values := r.Header.Values(name); len(values) > 0 {
			line(strings.ToLower(name), strings.Join(values, ", "))
		}
	}
	writeText(w, b.String())
}

// echo sends the body back.
func echo(w http.ResponseWriter, r *http.Request) {
	if kind := r.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	// Go's server stops reading the body with the first byte of an answer, but
	// for this.
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 always can
	_, _ = io.Copy(w, r.Body)                            // the client sees it if it breaks
}

// slow says something every half second, for five seconds or ?for=DURATION.
func slow(w http.ResponseWriter, r *http.Request) {
	const pause = 500 * time.Millisecond
	left := 5 * time.Second
	if text := r.FormValue("for"); text != "" {
		var err error
		if left, err = time.ParseDuration(text); err != nil || left < 0 || left > time.Hour {
			http.Error(w, "want a duration of up to an hour, such as /slow?for=20s", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := http.NewResponseController(w)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ; left > 0; left -= pause {
		fmt.Fprintf(w, "%v to go\n", left) //nolint:gosec // a duration holds no markup, and it is plain text
		if out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprintln(w, "done")
}

// status answers with the status that the path names.
func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 999 {
		http.Error(w, "want a status from 200 to 999, such as /status/503", http.StatusBadRequest)
		return
	}
	if slices.Contains([]int{http.StatusNoContent, http.StatusResetContent, http.StatusNotModified}, code) {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, "the upstream answers with %d, as it was asked to\n", code)
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text) // the client sees it if it breaks
}
