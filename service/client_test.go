package service_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// client is the raw end of a connection to the service. Its responses are read by net/http, which knows nothing of our
// own reader; what it read them from is kept.
type client struct {
	tb   testing.TB
	conn net.Conn
	in   *bufio.Reader

	mu  sync.Mutex
	raw bytes.Buffer
}

func newClient(tb testing.TB, conn net.Conn) *client {
	c := &client{tb: tb, conn: conn}
	c.in = bufio.NewReader(c)
	return c
}

// Read implements io.Reader for in: the connection, recorded.
func (c *client) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(p[:n])
	return n, err
}

// received returns all bytes that came in so far.
func (c *client) received() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.raw.Bytes())
}

// send writes the text. A service that refuses a request may stop reading it, so errors are not looked at: what counts
// is what it answers.
func (c *client) send(text string) {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	io.WriteString(c.conn, text)
}

func (c *client) close() { c.conn.Close() }

func (c *client) closeWrite() { c.conn.(interface{ CloseWrite() error }).CloseWrite() }

// reset closes with RST.
func (c *client) reset() {
	c.conn.(*net.TCPConn).SetLinger(0)
	c.conn.Close()
}

// answer is a response as the client got it.
type answer struct {
	status int
	header http.Header
	body   string
	// trailer holds the fields behind a chunked body.
	trailer http.Header
	// close says that the head announced the end of the connection.
	close bool
	// cut says that the body ended before its end.
	cut bool
}

func (a *answer) informational() bool {
	return a.status < 200 && a.status != http.StatusSwitchingProtocols
}

func (a *answer) class() string { return a.header.Get("Mtlsproxy-Error") }

// next reads one response, informational ones included. The error is io.EOF for a proper end of the connection.
func (c *client) next(method string) (*answer, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) && c.in.Buffered() == 0 && c.atBoundary() {
			err = io.EOF
		}
		return nil, err
	}
	a := &answer{status: r.StatusCode, header: r.Header, close: r.Close, trailer: r.Trailer}
	if a.informational() || a.status == http.StatusSwitchingProtocols {
		return a, nil
	}
	body, err := io.ReadAll(r.Body)
	a.body, a.cut, a.trailer = string(body), err != nil, r.Trailer
	return a, nil
}

// atBoundary tells an end between two responses, where net/http calls every end unexpected.
func (c *client) atBoundary() bool {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := c.in.Peek(1)
	return errors.Is(err, io.EOF)
}

// final reads the next response that is not informational and fails the test if there is none.
func (c *client) final(method string) *answer {
	c.tb.Helper()
	for {
		a, err := c.next(method)
		if err != nil {
			c.tb.Fatalf("no response: %v; received %.300q", err, c.received())
		}
		if !a.informational() {
			return a
		}
	}
}

// get sends a GET and returns the answer to it.
func (c *client) get(path string, fields ...string) *answer {
	c.tb.Helper()
	text := "GET " + path + " HTTP/1.1\r\nHost: a\r\n"
	for _, f := range fields {
		text += f + "\r\n"
	}
	c.send(text + "\r\n")
	return c.final(http.MethodGet)
}

// ended waits for the end of the connection, which must come without another byte, and reports whether it was a reset.
func (c *client) ended() (reset bool) {
	c.tb.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(c.in)
	if len(rest) > 0 {
		c.tb.Errorf("before the end of the connection came %.300q", rest)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.tb.Errorf("the connection was not closed")
	}
	return errors.Is(err, syscall.ECONNRESET)
}

func itoa(n int) string { return strconv.Itoa(n) }

// chunked is body in chunks of at most size bytes, without the last chunk.
func chunked(body string, size int) string {
	var out strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&out, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return out.String()
}
