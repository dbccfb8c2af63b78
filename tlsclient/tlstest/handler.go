package tlstest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// Handler serves each connection through net/http. A handler that hijacks the connection must be done with it when
// it returns.
func Handler(handler http.Handler) Script {
	return func(c *Conn) {
		listener := &oneConn{conn: c.TLS, closed: make(chan struct{})}
		var busy sync.WaitGroup
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				busy.Add(1)
				defer busy.Done()
				c.server.log.request(&Seen{
					Conn: c.Index, Serial: c.Serial(), Method: r.Method, Target: r.RequestURI, Host: r.Host,
					ID: r.Header.Get(IDHeader),
				})
				if status := c.turnedAway(); status != 0 {
					w.WriteHeader(status)
					return
				}
				handler.ServeHTTP(w, r)
			}),
			ConnState: listener.watch,
			ErrorLog:  log.New(io.Discard, "", 0), // clients that vanish are the point of many tests
			// HTTP/2 would be negotiated by ALPN, which these servers do not offer.
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		}
		server.Serve(listener) // returns when the connection is closed or hijacked
		busy.Wait()
	}
}

// Echo answers 200 with the request's body, and with its method and target in Echo-Method and Echo-Target.
func Echo() Script {
	return Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Echo-Method", r.Method)
		w.Header().Set("Echo-Target", r.RequestURI)
		if kind := r.Header.Get("Content-Type"); kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		io.Copy(w, r.Body)
	}))
}

// oneConn is a listener that yields one connection and then waits for its end.
type oneConn struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error { return nil }

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func (l *oneConn) watch(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		l.once.Do(func() { close(l.closed) })
	}
}
