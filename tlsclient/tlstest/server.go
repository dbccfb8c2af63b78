package tlstest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// IDHeader is the request field by which [Server.Count] tells how often one request arrived.
const IDHeader = "X-Test-Id"

// ServerOptions describe an upstream. Only CA is required.
type ServerOptions struct {
	// CA issues the server's certificate and, unless ClientCAs says otherwise, is what client certificates must
	// descend from.
	CA *CA
	// Identity replaces the certificate that CA.Server would issue.
	Identity *Identity
	// ClientCAs replaces the anchors for client certificates; another CA's pool makes every client unwelcome.
	ClientCAs *x509.CertPool
	// Script runs once for each connection, after the handshake, in a goroutine of its own; default [Echo].
	// When it returns, the connection ends with close_notify.
	Script Script
	// BeforeHandshake sees the connection before any TLS and may write to Conn.TCP. If it returns false, the
	// connection is closed without a handshake.
	BeforeHandshake func(*Conn) bool
	// RefuseClient fails every handshake over the client's certificate, after verifying it. With TLS 1.3 the client
	// has by then finished its side and learns of it only from its first read.
	RefuseClient bool
	// Version restricts the protocol to one version (tls.VersionTLS12 or 13); default both.
	Version uint16
	// Adjust has the last word on the TLS configuration.
	Adjust func(*tls.Config)
	// KeepBytes remembers every decrypted byte that scripts read, for Received.
	KeepBytes bool
	// Address to listen on; default 127.0.0.1:0. A test that restarts an upstream passes the first one's.
	Address string
}

// A Server is a TLS listener that requires a client certificate and treats its connections as a script says.
type Server struct {
	// Addr is host:port.
	Addr string
	// URL is https://Addr without a path.
	URL string

	opts     ServerOptions
	config   *tls.Config
	listener *net.TCPListener
	log      records
	running  sync.WaitGroup
	stopping context.Context
	stop     context.CancelFunc

	mu   sync.Mutex
	open map[*Conn]struct{} // nil once closed
}

// NewServer starts an upstream, which stops with the test.
func NewServer(tb testing.TB, opts ServerOptions) *Server {
	tb.Helper()
	if opts.CA == nil {
		tb.Fatal("BUG: ServerOptions.CA is missing")
	}
	if opts.Identity == nil {
		opts.Identity = opts.CA.Server(tb)
	}
	if opts.ClientCAs == nil {
		opts.ClientCAs = opts.CA.Pool()
	}
	if opts.Script == nil {
		opts.Script = Echo()
	}
	if opts.Address == "" {
		opts.Address = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", opts.Address)
	if err != nil {
		tb.Fatalf("starting a test upstream: %v", err)
	}
	s := &Server{
		Addr:     listener.Addr().String(),
		URL:      "https://" + listener.Addr().String(),
		opts:     opts,
		listener: listener.(*net.TCPListener),
		open:     map[*Conn]struct{}{},
	}
	s.config = s.tlsConfig()
	s.log.changed = make(chan struct{})
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.running.Go(s.accept)
	tb.Cleanup(s.Close)
	return s
}

// NewHTTPServer starts an upstream that serves handler through net/http.
func NewHTTPServer(tb testing.TB, ca *CA, handler http.Handler) *Server {
	tb.Helper()
	return NewServer(tb, ServerOptions{CA: ca, Script: Handler(handler)})
}

func (s *Server) tlsConfig() *tls.Config {
	opts := &s.opts
	config := &tls.Config{
		Certificates: []tls.Certificate{opts.Identity.TLS()},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    opts.ClientCAs,
		MinVersion:   tls.VersionTLS12,
	}
	if opts.Version != 0 {
		config.MinVersion, config.MaxVersion = opts.Version, opts.Version
	}
	config.VerifyConnection = s.log.admit
	if opts.RefuseClient {
		config.VerifyConnection = func(tls.ConnectionState) error { return errors.New("client certificate refused by the test") }
	}
	var ticketKey [32]byte
	rand.Read(ticketKey[:]) // never fails, says its documentation
	config.SetSessionTicketKeys([][32]byte{ticketKey})
	if opts.Adjust != nil {
		opts.Adjust(config)
	}
	return config
}

// Close stops listening, breaks every connection and waits for the scripts to return. It may be called early to
// take an upstream away, and more than once.
func (s *Server) Close() {
	s.stop()
	s.listener.Close()
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for c := range open {
		c.TCP.Close()
	}
	s.running.Wait()
}

// CloseConnections ends every open connection in the given way (which cannot be KeepOpen), all at once, and leaves
// the listener alone.
func (s *Server) CloseConnections(end End) {
	s.mu.Lock()
	open := make([]*Conn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	var ending sync.WaitGroup
	for _, c := range open {
		ending.Go(func() { c.End(end) })
	}
	ending.Wait()
}

func (s *Server) accept() {
	for index := 0; ; index++ {
		tcp, err := s.listener.AcceptTCP()
		if err != nil {
			return // closed; a listener on loopback has no other way to fail that a test could mend
		}
		s.log.update(func(st *Stats) { st.Accepted++; st.Open++ })
		c := newConn(s, tcp, index)
		s.mu.Lock()
		if s.open == nil {
			s.mu.Unlock()
			tcp.Close()
			return
		}
		s.open[c] = struct{}{}
		s.running.Go(c.serve)
		s.mu.Unlock()
	}
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	id := c.Serial()
	s.log.update(func(st *Stats) {
		st.Open--
		if c.served {
			s.log.use(id, func(u *Use, now time.Time) {
				if u.Open--; u.Open == 0 {
					u.Closed = now
				}
			})
		}
	})
}
