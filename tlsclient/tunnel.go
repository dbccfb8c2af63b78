package tlsclient

import (
	"errors"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Tunnel is the connection after a 101 response: bytes of another protocol in
// both directions. One goroutine may read and one may write.
type Tunnel struct {
	conn *conn
}

// Tunnel returns the connection of a 101 response. It is closed with the
// response. Silence in both directions is the reader's to bound.
func (r *Response) Tunnel() *Tunnel {
	c := r.conn
	c.keepTunnel()
	c.patient(0) // its own silence bounds it; who takes nothing for a while may be well
	c.look = &lookout{conn: c}
	c.sock.Tick = nil
	c.sock.ReadBy(time.Time{})
	if c.reader.Empty() {
		c.dropBuffer()
	}
	return &Tunnel{conn: c}
}

// Read waits for bytes without holding a buffer, then takes one from b, which
// the caller gives back. The error is an *Error if the connection was cut because its
// certificate expired, or because the upstream is gone.
func (t *Tunnel) Read(b *rawconn.Buffers) (buf []byte, n int, err error) {
	buf, n, err = t.read(b)
	if err != nil {
		if e := t.conn.doomed(); e != nil {
			err = e
		}
	}
	return buf, n, err
}

func (t *Tunnel) read(b *rawconn.Buffers) (buf []byte, n int, err error) {
	c := t.conn
	if !c.reader.Empty() {
		buf = b.Get()
		n = copy(buf, c.reader.Buffered())
		c.reader.Take(n)
		if c.reader.Empty() {
			c.dropBuffer()
		}
		return buf, n, nil
	}
	for {
		buf = b.Get()
		c.sock.NoWait = true
		n, err = c.tls.Read(buf)
		c.sock.NoWait = false
		if n > 0 {
			return buf, n, nil
		}
		b.Put(buf)
		if !errors.Is(err, rawconn.ErrWouldBlock) {
			return nil, 0, err
		}
		if err = c.sock.WaitReadable(); err != nil {
			return nil, 0, err
		}
	}
}

// Write sends p before deadline.
func (t *Tunnel) Write(p []byte, deadline time.Time) error {
	t.conn.sock.WriteBy(deadline)
	_, err := t.conn.tls.Write(p)
	t.conn.look.wrote()
	return err
}

// CloseWrite tells the upstream that nothing more will come.
func (t *Tunnel) CloseWrite() error { return t.conn.tls.CloseWrite() }

// Cut ends the tunnel at once, from any goroutine.
func (t *Tunnel) Cut() { t.conn.cut() }
