package tlstest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// headLimit is the largest request head that ReadRequest and ReadHead take: above what the proxy itself would send.
const headLimit = 96 << 10

// lingering bounds how long a closing connection is drained. Closing a socket with unread bytes in it makes the
// kernel send a reset, which would hide the ending that a script chose.
const lingering = 2 * time.Second

// A Conn is an accepted connection in the hands of its script.
type Conn struct {
	TLS *tls.Conn
	// TCP is the connection under TLS. Whatever is written here is not encrypted.
	TCP *net.TCPConn
	// Index counts the server's connections from 0.
	Index int
	// R reads what the client sent. Reading from TLS directly would bypass its buffer.
	R *bufio.Reader

	server *Server
	served bool // its handshake was completed
}

// An End is a way in which a connection ends.
type End int

// The ways to end a connection.
const (
	KeepOpen    End = iota // not at all: wait until the client closes
	CloseNotify            // TLS close_notify, then FIN: a proper end
	TCPClose               // FIN without close_notify: a truncation, as an attacker could cause it
	Reset                  // RST; bytes on their way may be lost
)

func newConn(s *Server, tcp *net.TCPConn, index int) *Conn {
	c := &Conn{TLS: tls.Server(tcp, s.config), TCP: tcp, Index: index, server: s}
	var source io.Reader = c.TLS
	if s.opts.KeepBytes {
		source = recorder{c}
	}
	c.R = bufio.NewReaderSize(source, headLimit)
	return c
}

func (c *Conn) serve() {
	defer c.server.forget(c)
	defer c.TCP.Close()
	if before := c.server.opts.BeforeHandshake; before != nil && !before(c) {
		return
	}
	err := c.TLS.HandshakeContext(c.server.stopping)
	c.server.log.handshake(c.TLS.ConnectionState(), err)
	if err != nil {
		c.drain() // let the alert arrive
		return
	}
	c.served = true
	c.server.opts.Script(c)
	c.End(CloseNotify)
}

// Stopping is closed when the server stops.
func (c *Conn) Stopping() <-chan struct{} { return c.server.stopping.Done() }

// Serial returns the client certificate's serial number in lower-case hexadecimal.
func (c *Conn) Serial() string { return serial(c.TLS.ConnectionState()) }

// Pause waits, and reports false if the server stopped meanwhile.
func (c *Conn) Pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.Stopping():
		return false
	}
}

// A Request is a request head with its body still on the connection.
type Request struct {
	*http.Request
	seen *Seen
}

// ReadHead reads and records one request head and returns its raw bytes, empty line included. It is strict about
// nothing: the caller judges. The error is io.EOF if the client closed the connection properly in between.
func (c *Conn) ReadHead() ([]byte, error) {
	head, err := c.peekHead()
	if err != nil {
		return nil, err
	}
	c.record(head)
	_, err = c.R.Discard(len(head))
	return head, err
}

// ReadRequest reads and records one request head. Use [Conn.ReadBody] for its body.
func (c *Conn) ReadRequest() (*Request, error) {
	head, err := c.peekHead()
	if err != nil {
		return nil, err
	}
	seen := c.record(head)
	request, err := http.ReadRequest(c.R)
	if err != nil {
		return nil, err
	}
	return &Request{Request: request, seen: seen}, nil
}

// ReadBody reads the rest of the request and records it.
func (c *Conn) ReadBody(r *Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	c.server.log.body(r.seen, body)
	return body, err
}

// peekHead waits for a whole head to be in the buffer and returns a copy of it.
func (c *Conn) peekHead() ([]byte, error) {
	end := []byte("\r\n\r\n")
	for want, searched := 1, 0; ; {
		if _, err := c.R.Peek(want); err != nil {
			if err == io.EOF && want > 1 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		buffered, _ := c.R.Peek(c.R.Buffered())
		if i := bytes.Index(buffered[searched:], end); i >= 0 {
			return bytes.Clone(buffered[:searched+i+len(end)]), nil
		}
		searched = max(0, len(buffered)-len(end)+1)
		want = len(buffered) + 1
	}
}

// record notes a request, taking the little it needs from the raw head.
func (c *Conn) record(head []byte) *Seen {
	seen := &Seen{Conn: c.Index, Serial: c.Serial(), Head: head}
	if request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head))); err == nil {
		seen.Method, seen.Target, seen.Host = request.Method, request.RequestURI, request.Host
		seen.ID = request.Header.Get(IDHeader)
	}
	c.server.log.request(seen)
	return seen
}

// Write sends each piece in a TLS record of its own.
func (c *Conn) Write(pieces ...string) error { return c.WriteSlowly(0, pieces...) }

// WriteSlowly sends each piece in a TLS record of its own with a pause in between, so that the client most likely
// reads them one by one.
func (c *Conn) WriteSlowly(pause time.Duration, pieces ...string) error {
	for i, piece := range pieces {
		if i > 0 && pause > 0 && !c.Pause(pause) {
			return net.ErrClosed
		}
		if _, err := io.WriteString(c.TLS, piece); err != nil {
			return err
		}
	}
	return nil
}

// WaitClosed discards what the client sends until it, or the server, closes the connection.
func (c *Conn) WaitClosed() {
	io.Copy(io.Discard, c.R) // any error is the end that was waited for
}

// CloseWrite sends close_notify and FIN and keeps reading possible.
func (c *Conn) CloseWrite() {
	c.TLS.CloseWrite()
	c.TCP.CloseWrite()
}

// End ends the connection. Errors do not matter: the client may have been faster.
func (c *Conn) End(end End) {
	switch end {
	case KeepOpen:
		c.WaitClosed()
	case CloseNotify:
		c.CloseWrite()
		c.drain()
	case TCPClose:
		c.TCP.CloseWrite()
		c.drain()
	case Reset:
		c.TCP.SetLinger(0)
	}
	c.TCP.Close()
}

// drain reads until the client has closed as well, or for a while.
func (c *Conn) drain() {
	c.TCP.SetReadDeadline(time.Now().Add(lingering))
	io.Copy(io.Discard, c.TCP)
}
