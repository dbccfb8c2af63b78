package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// client sends one request after the other.
type client struct {
	o       *Options
	c       *counter
	address string
	keep    bool
	first   func() // after the first exchange

	conn net.Conn // nil between two connections
	in   *bufio.Reader
}

func (cl *client) run(ctx context.Context) {
	defer cl.first()
	defer cl.drop()
	tick := time.NewTicker(cl.o.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		cl.exchange()
		cl.first()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	cl.look()
}

// exchange sends a request and reads its answer, on a connection that it makes if
// there is none.
func (cl *client) exchange() {
	begun := time.Now()
	cl.look()
	if cl.conn == nil {
		if err := cl.dial(); err != nil {
			cl.c.add(func(c *Count) { c.Refused++; c.wrong("connecting: " + reason(err)) })
			return
		}
	}
	status, last, err := cl.roundTrip()
	cl.c.add(func(c *Count) {
		c.Sent++
		switch {
		case err != nil:
			c.Failed++
			c.wrong("exchange: " + reason(err))
		case status != http.StatusOK:
			c.Failed++
			c.wrong(fmt.Sprintf("status %d", status))
		default:
			c.Answered++
			c.Slowest = max(c.Slowest, time.Since(begun))
		}
		if ended(err) || err == nil && last && cl.keep {
			c.Closed++
		}
	})
	if err != nil || last || !cl.keep {
		cl.drop()
	}
}

func (cl *client) dial() error {
	network := "tcp"
	if strings.HasPrefix(cl.address, "/") {
		network = "unix"
	}
	conn, err := net.DialTimeout(network, cl.address, cl.o.Patience) //nolint:noctx // the load ends between two exchanges, never in one
	if err != nil {
		return err
	}
	cl.conn, cl.in = conn, bufio.NewReader(conn)
	return nil
}

// roundTrip returns the status, and whether the other side said that this was the
// last exchange of the connection.
func (cl *client) roundTrip() (status int, last bool, err error) {
	if err := cl.conn.SetDeadline(time.Now().Add(cl.o.Patience)); err != nil {
		return 0, false, err
	}
	if _, err := io.WriteString(cl.conn, "GET "+cl.o.Path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return 0, false, err
	}
	answer, err := http.ReadResponse(cl.in, nil)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = answer.Body.Close() }() // it has been read
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0, false, err
	}
	return answer.StatusCode, answer.Close, nil
}

// look counts a connection that the other side has closed between two exchanges,
// before a request is lost on it, or on which it has sent something then.
func (cl *client) look() {
	if cl.conn == nil {
		return
	}
	stray := cl.in.Buffered() > 0
	end := false
	if !stray {
		stray, end = peek(cl.conn)
	}
	if stray {
		cl.c.add(func(c *Count) { c.Stray++; c.wrong("bytes between two exchanges") })
	}
	if end {
		cl.c.add(func(c *Count) { c.Closed++; c.wrong("closed between two exchanges") })
	}
	if stray || end {
		cl.drop()
	}
}

func (cl *client) drop() {
	if cl.conn != nil {
		_ = cl.conn.Close() // nothing is left to read
		cl.conn = nil
	}
}

// peek reports whether there is something to read, or an end.
func peek(conn net.Conn) (some, end bool) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false, true
	}
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		some = err == nil && n > 0
		end = err == nil && n == 0 || errors.Is(err, syscall.ECONNRESET)
	})
	return some, end || err != nil
}

// ended reports whether err means that the other side has closed the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// reason is an error without addresses, so that equal ones look equal.
func reason(err error) string {
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return "it took too long"
	}
	return err.Error()
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
