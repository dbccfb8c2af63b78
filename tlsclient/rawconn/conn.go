package rawconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// TickInterval is how often a waiting Read asks Tick.
const TickInterval = 500 * time.Millisecond

// heldCap is the largest held buffer a connection keeps between exchanges.
const heldCap = 8 << 10

// ErrStale says that a reused connection turned out to be closed, or to hold
// bytes nobody asked for, before a single byte was written to it.
var ErrStale = errors.New("idle connection was closed by the peer")

// ErrInterrupted is what a Read returns after Interrupt.
var ErrInterrupted = errors.New("read interrupted")

// ErrWouldBlock is what a Read returns instead of waiting when NoWait is set.
// It is a temporary net.Error, so that crypto/tls does not take it for the end.
var ErrWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read yet" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Conn is a TCP or unix stream connection. Make one with New.
type Conn struct {
	// Tick, if not nil, is asked every TickInterval while a Read waits. An
	// error ends the Read with that error. Set it only between Reads.
	Tick func() error
	// NoWait makes Read return ErrWouldBlock instead of waiting.
	NoWait bool

	nc  net.Conn
	raw syscall.RawConn

	readFn, writeFn func(fd uintptr) bool // made once: a closure per call would allocate

	in  readState
	out writeState

	interrupted atomic.Bool
}

type readState struct {
	buf   []byte   // where the bytes go
	lease *Buffers // or who lends a buffer, once there is something to read
	n     int
	err   error
	eof   bool
	total atomic.Int64
	clock deadline

	peeking bool // only wait until there is something
	ready   bool // there is
}

type writeState struct {
	buf     []byte // what is left to write
	held    []byte // what the next Read writes before it waits
	holding bool
	reused  bool // check for staleness before held is written
	err     error
	total   atomic.Int64
	clock   deadline
	queued  int // what the kernel had not delivered when the wait began
}

// New wraps nc, which must be a *net.TCPConn or *net.UnixConn.
func New(nc net.Conn) (*Conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("connection of type %T has no file descriptor", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("taking the descriptor of %v: %w", nc.LocalAddr(), err)
	}
	c := &Conn{nc: nc, raw: raw}
	c.readFn, c.writeFn = c.readStep, c.writeStep
	return c, nil
}

// Read implements net.Conn. It tries at once, then waits until the time set by
// ReadBy; past it the error is os.ErrDeadlineExceeded.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in.buf = p
	n, err := c.read()
	c.in.buf = nil
	return n, err
}

// ReadLease is Read into a buffer that is taken from b only once there is
// something to read, so that a waiting connection holds none. On success the
// buffer is the caller's, who gives it back.
func (c *Conn) ReadLease(b *Buffers) (buf []byte, n int, err error) {
	c.in.lease = b
	n, err = c.read()
	buf, c.in.buf, c.in.lease = c.in.buf, nil, nil
	return buf, n, err
}

// WaitReadable waits, holding nothing, until there is something to read or the
// stream has ended.
func (c *Conn) WaitReadable() error {
	c.in.peeking = true
	_, err := c.read()
	c.in.peeking = false
	return err
}

func (c *Conn) read() (int, error) {
	c.in.n, c.in.err, c.in.ready = 0, nil, false
	for {
		err := c.raw.Read(c.readFn)
		switch {
		case c.in.n > 0 || c.in.err != nil || c.in.ready:
			return c.in.n, c.in.err
		case err == nil: // held bytes found the socket full
			err = c.flushHeld()
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.readExpired()
		}
		if err != nil {
			return 0, err
		}
	}
}

// readStep is one turn of a Read on the descriptor: true ends it.
func (c *Conn) readStep(fd uintptr) bool {
	if len(c.out.held) > 0 {
		if waits, done := c.writeHeld(fd); done {
			return true
		} else if waits {
			return c.wait()
		}
	}
	if c.in.peeking {
		c.in.ready = !quiet(fd)
		return c.in.ready || c.wait()
	}
	if c.in.lease != nil && c.in.buf == nil {
		c.in.buf = c.in.lease.Get()
	}
	n, errno := read(fd, c.in.buf)
	switch {
	case errno == syscall.EAGAIN:
		if c.in.lease != nil {
			c.in.lease.Put(c.in.buf)
			c.in.buf = nil
		}
		return c.wait()
	case errno != 0:
		c.in.err = os.NewSyscallError("read", errno)
	case n == 0:
		c.in.eof = true
		c.in.err = io.EOF
	default:
		c.in.n = n
		c.in.total.Add(int64(n))
	}
	if c.in.err != nil && c.in.lease != nil {
		c.in.lease.Put(c.in.buf)
		c.in.buf = nil
	}
	return true
}

// wait arms the deadline before the runtime parks the goroutine.
func (c *Conn) wait() bool {
	if c.NoWait {
		c.in.err = ErrWouldBlock
		return true
	}
	if c.in.clock.due(c.Tick != nil) {
		if err := c.nc.SetReadDeadline(c.in.clock.time()); err != nil {
			c.in.err = err
			return true
		}
		// Interrupt may have set its own deadline just before ours.
		if c.interrupted.Load() {
			c.in.err = ErrInterrupted
			return true
		}
	}
	return false
}

// writeHeld writes the held bytes from inside a Read. A reused connection is
// looked at first: the look also stands for the read that would have to fail
// before waiting, since anything that arrives after it wakes the poller.
func (c *Conn) writeHeld(fd uintptr) (waits, done bool) {
	if c.out.reused && !quiet(fd) {
		c.out.held = c.out.held[:0]
		c.in.err = ErrStale
		return false, true
	}
	for len(c.out.held) > 0 {
		n, errno := write(fd, c.out.held)
		if errno == syscall.EAGAIN {
			return false, true
		}
		if errno != 0 {
			c.in.err = os.NewSyscallError("write", errno)
			return false, true
		}
		c.out.total.Add(int64(n))
		if n == len(c.out.held) {
			c.out.held = c.out.held[:0]
			if cap(c.out.held) > heldCap {
				c.out.held = nil
			}
			break
		}
		c.out.held = c.out.held[:copy(c.out.held, c.out.held[n:])]
		c.out.reused = false
	}
	return c.out.reused, false
}

func (c *Conn) flushHeld() error {
	p := c.out.held
	c.out.held = nil
	c.out.reused = false
	_, err := c.write(p)
	return err
}

// Hold makes the next Writes wait for the next Read, which sends them and then
// waits for the answer in one turn. With reused set, that Read first looks
// whether the peer has closed the connection meanwhile and then fails with
// ErrStale, before a byte was written.
func (c *Conn) Hold(reused bool) {
	c.out.holding, c.out.reused = true, reused
	c.out.held = c.out.held[:0]
}

// Write implements net.Conn. It waits until the time set by WriteBy.
func (c *Conn) Write(p []byte) (int, error) {
	if c.out.holding {
		c.out.held = append(c.out.held, p...)
		return len(p), nil
	}
	return c.write(p)
}

// Release ends what Hold began: later Writes are sent at once. What is held
// already still goes with the next Read.
func (c *Conn) Release() { c.out.holding = false }

func (c *Conn) write(p []byte) (int, error) {
	c.out.buf, c.out.err = p, nil
	c.out.clock.restart()
	var err error
	for len(c.out.buf) > 0 && err == nil {
		err = c.raw.Write(c.writeFn)
		if c.out.err != nil {
			err = c.out.err
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.writeExpired()
		}
	}
	n := len(p) - len(c.out.buf)
	c.out.buf = nil
	return n, err
}

func (c *Conn) writeStep(fd uintptr) bool {
	for len(c.out.buf) > 0 {
		n, errno := write(fd, c.out.buf)
		if errno == syscall.EAGAIN {
			if c.out.clock.begins() {
				c.out.queued = undelivered(int(fd))
			}
			if c.out.clock.due(false) {
				c.out.err = c.nc.SetWriteDeadline(c.out.clock.time())
			}
			return c.out.err != nil
		}
		if errno != 0 {
			c.out.err = os.NewSyscallError("write", errno)
			return true
		}
		c.out.total.Add(int64(n))
		c.out.buf = c.out.buf[n:]
		c.out.clock.restart()
	}
	return true
}
