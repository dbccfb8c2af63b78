package rawconn

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// deadline is a wanted time and the one that is armed in the runtime. The armed
// one may be earlier: it then fires for nothing once and is set anew, which is
// far cheaper than moving it for every exchange.
type deadline struct {
	want   time.Time     // zero: none
	within time.Duration // what want is counted from when a wait begins; 0: it is not
	armed  time.Time
}

// by sets a fixed time, in sets one that each wait counts from its beginning.
func (d *deadline) by(t time.Time)        { d.want, d.within = t, 0 }
func (d *deadline) in(span time.Duration) { d.want, d.within = time.Time{}, span }

// restart makes the next wait a new one.
func (d *deadline) restart() {
	if d.within > 0 {
		d.want = time.Time{}
	}
}

// begins reports whether a wait that is counted from its beginning is about to begin.
func (d *deadline) begins() bool { return d.within > 0 && d.want.IsZero() }

// due reports whether a goroutine that is about to wait must arm the deadline,
// and settles what it is to be armed to.
func (d *deadline) due(ticks bool) bool {
	if d.want.IsZero() && d.within == 0 && !ticks {
		if d.armed.IsZero() {
			return false
		}
		d.armed = time.Time{}
		return true
	}
	now := time.Now()
	if d.within > 0 && d.want.IsZero() {
		d.want = now.Add(d.within)
	}
	limit := d.want
	if ticks {
		if tick := now.Add(TickInterval); limit.IsZero() || tick.Before(limit) {
			limit = tick
		}
	}
	if !d.armed.IsZero() && !d.armed.After(limit) && d.armed.After(now) {
		return false
	}
	d.armed = limit
	return true
}

func (d *deadline) time() time.Time { return d.armed }

func (d *deadline) passed() bool {
	return !d.want.IsZero() && !time.Now().Before(d.want)
}

// ReadBy sets until when later Reads may wait; the zero time means for ever. It
// costs no system call and no timer until a Read waits.
func (c *Conn) ReadBy(t time.Time) { c.in.clock.by(t) }

// ReadWithin sets how long later Reads may wait in all, counted from when the
// first of them does; 0 means for ever. It is cheaper than ReadBy: the clock is
// read only if a Read waits.
func (c *Conn) ReadWithin(d time.Duration) { c.in.clock.in(d) }

// WriteBy sets until when later Writes may wait; the zero time means for ever.
func (c *Conn) WriteBy(t time.Time) { c.out.clock.by(t) }

// WriteWithin sets how long each later Write may wait for the peer to take
// anything; 0 means for ever. Over TCP the kernel says that there is room again only
// once there is much of it, so a slow peer has taken something as well if less of what
// was written is still undelivered.
func (c *Conn) WriteWithin(d time.Duration) { c.out.clock.in(d) }

func (c *Conn) readExpired() error {
	if c.interrupted.Load() {
		return ErrInterrupted
	}
	if c.in.clock.passed() {
		return os.ErrDeadlineExceeded
	}
	if c.Tick != nil {
		if err := c.Tick(); err != nil {
			return err
		}
	}
	c.in.clock.armed = time.Time{}
	return c.nc.SetReadDeadline(time.Time{})
}

func (c *Conn) writeExpired() error {
	if c.out.clock.passed() {
		if c.out.clock.within == 0 || !c.delivers() {
			return os.ErrDeadlineExceeded
		}
		c.out.clock.restart()
	}
	c.out.clock.armed = time.Time{}
	return c.nc.SetWriteDeadline(time.Time{})
}

// delivers reports whether the peer has taken something since the wait began.
func (c *Conn) delivers() bool {
	left := 0
	err := c.raw.Control(func(fd uintptr) { left = undelivered(int(fd)) })
	return err == nil && left < c.out.queued
}

// undelivered is how many bytes the peer has yet to acknowledge, tcp(7), or to read, on a
// unix socket. It is 0 if that is not known.
func undelivered(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// Interrupt ends a waiting Read, and every later one, with ErrInterrupted;
// Writes go on.
func (c *Conn) Interrupt() {
	c.interrupted.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed socket, whose Reads end anyway
}

// Resume undoes Interrupt. No Read may be waiting.
func (c *Conn) Resume() {
	if c.interrupted.CompareAndSwap(true, false) {
		c.in.clock.armed = time.Unix(1, 0)
	}
}
