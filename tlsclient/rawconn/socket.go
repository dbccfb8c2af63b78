package rawconn

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Presence is what can be told of the peer without reading or waiting.
type Presence int

const (
	// Present means that the peer has neither closed nor half-closed.
	Present Presence = iota
	// HalfClosed means that the peer will send nothing more. On TCP it looks the
	// same whether it still reads or has closed altogether.
	HalfClosed
	// Gone means that the peer has closed or reset the connection.
	Gone
)

// Peer looks at the connection without consuming anything. It may be called
// while another goroutine reads or writes.
func (c *Conn) Peer() Presence {
	p := Gone
	err := c.raw.Control(func(fd uintptr) { p = presence(fd) })
	if err != nil {
		return Gone
	}
	return p
}

// Quiet reports whether the connection is open and has nothing to read, as an
// idle connection that may be used again must.
func (c *Conn) Quiet() bool {
	ok := false
	err := c.raw.Control(func(fd uintptr) { ok = quiet(fd) })
	return err == nil && ok
}

// EOF reports whether a Read has seen the end of the stream.
func (c *Conn) EOF() bool { return c.in.eof }

// Held reports whether bytes still wait for a Read to send them.
func (c *Conn) Held() bool { return len(c.out.held) > 0 }

// Written returns how many bytes the socket has taken so far. It may be called
// from any goroutine.
func (c *Conn) Written() int64 { return c.out.total.Load() }

// Received returns how many bytes have been read so far. It may be called from any
// goroutine.
func (c *Conn) Received() int64 { return c.in.total.Load() }

// Close closes the socket at once; waiting Reads and Writes end.
func (c *Conn) Close() error { return c.nc.Close() }

// CloseWrite sends the end of our stream; the peer's is still read.
func (c *Conn) CloseWrite() error {
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return net.ErrClosed
}

// Reset closes the socket so that the peer cannot take what it has for a
// complete message: TCP sends RST. A unix socket knows no such thing and is
// closed.
func (c *Conn) Reset() error {
	if t, ok := c.nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // fails only on a socket that is closed already
	}
	return c.nc.Close()
}

// SetUserTimeout sets how long TCP waits for the peer to acknowledge what was sent, or to
// have room for it, until it takes the connection for dead, tcp(7); 0: as long as the
// system does. On other sockets it has no effect.
func (c *Conn) SetUserTimeout(d time.Duration) {
	_ = c.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) // no TCP, or closed: then it does not matter
	})
}

// NetConn returns the connection that is wrapped. Only its addresses and socket
// options may be used.
func (c *Conn) NetConn() net.Conn { return c.nc }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.ReadBy(t)
	c.WriteBy(t)
	return nil
}

// SetReadDeadline implements net.Conn; it is ReadBy.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.ReadBy(t)
	return nil
}

// SetWriteDeadline implements net.Conn; it is WriteBy.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.WriteBy(t)
	return nil
}

// read uses recvfrom, which goes to the socket without passing by the file system.
func read(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// write uses sendto for its MSG_NOSIGNAL: a broken pipe is an error, not a signal.
func write(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

func peek(fd uintptr) (int, syscall.Errno) {
	var b [1]byte
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func quiet(fd uintptr) bool {
	_, errno := peek(fd)
	return errno == syscall.EAGAIN
}
