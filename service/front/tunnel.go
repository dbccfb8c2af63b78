package front

import (
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Tunnel is a client connection that has left HTTP behind. One goroutine may
// read and one may write.
type Tunnel struct{ x *Exchange }

// Tunnel writes what was gathered and turns the connection into a tunnel, which
// ends with the handler.
func (x *Exchange) Tunnel() (Tunnel, error) {
	err := x.Flush()
	x.stage = tunnelled
	x.conn.sock.ReadBy(time.Time{})
	return Tunnel{x}, err
}

// Read waits for bytes without holding a buffer, then takes one from b, which
// the caller gives back.
func (t Tunnel) Read(b *rawconn.Buffers) (buf []byte, n int, err error) {
	if r := &t.x.reader; !r.Empty() {
		buf = b.Get()
		n = copy(buf, r.Buffered())
		r.Take(n)
		return buf, n, nil
	}
	return t.x.conn.sock.ReadLease(b)
}

// Write sends p before deadline.
func (t Tunnel) Write(p []byte, deadline time.Time) error {
	t.x.conn.sock.WriteBy(deadline)
	n, err := t.x.conn.sock.Write(p)
	t.x.written += int64(n)
	return err
}

// CloseWrite tells the client that nothing more will come.
func (t Tunnel) CloseWrite() error { return t.x.conn.sock.CloseWrite() }

// Cut ends the tunnel at once, from any goroutine.
func (t Tunnel) Cut() { _ = t.x.conn.sock.Close() }
