package front

import (
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Tunnel is a client connection that has left HTTP behind. One goroutine may
// read and one may write.
//
// Cut may be called at any time, even after the exchange has ended: a Tunnel
// holds the socket itself, not by way of an Exchange that serves others by then.
type Tunnel struct {
	x    *Exchange
	sock *rawconn.Conn
}

// Tunnel writes what was gathered and turns the connection into a tunnel, which
// ends with the handler.
func (x *Exchange) Tunnel() (Tunnel, error) {
	err := x.Flush()
	x.stage = tunnelled
	x.conn.tunnel.Store(true)
	x.conn.server.Buffers.Put(x.out)
	x.out = nil
	if x.reader.Empty() {
		x.unburden()
	}
	x.conn.sock.ReadBy(time.Time{})
	return Tunnel{x, x.conn.sock}, err
}

// unburden gives back what the exchange holds: a tunnel takes buffers only while
// something moves.
func (x *Exchange) unburden() {
	x.dropBuffer()
	x.conn.letGo()
}

// Read waits for bytes without holding a buffer, then takes one from b, which
// the caller gives back.
func (t Tunnel) Read(b *rawconn.Buffers) (buf []byte, n int, err error) {
	if r := &t.x.reader; !r.Empty() {
		buf = b.Get()
		n = copy(buf, r.Buffered())
		r.Take(n)
		if r.Empty() {
			t.x.unburden()
		}
		return buf, n, nil
	}
	return t.sock.ReadLease(b)
}

// Write sends p before deadline.
func (t Tunnel) Write(p []byte, deadline time.Time) error {
	t.sock.WriteBy(deadline)
	n, err := t.sock.Write(p)
	t.x.written += int64(n)
	return err
}

// CloseWrite tells the client that nothing more will come.
func (t Tunnel) CloseWrite() error { return t.sock.CloseWrite() }

// Cut ends the tunnel at once, from any goroutine.
func (t Tunnel) Cut() { _ = t.sock.Close() }
