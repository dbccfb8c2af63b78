package rawconn

import (
	"os"
	"time"
)

// deadline is a wanted time and the one that is armed in the runtime. The armed
// one may be earlier: it then fires for nothing once and is set anew, which is
// far cheaper than moving it for every exchange.
type deadline struct {
	want, armed time.Time // zero: none
}

// due reports whether a goroutine that is about to wait must arm the deadline,
// and settles what it is to be armed to.
func (d *deadline) due(ticks bool) bool {
	limit := d.want
	if limit.IsZero() && !ticks {
		if d.armed.IsZero() {
			return false
		}
		d.armed = time.Time{}
		return true
	}
	now := time.Now()
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
func (c *Conn) ReadBy(t time.Time) { c.in.clock.want = t }

// WriteBy sets until when later Writes may wait; the zero time means for ever.
func (c *Conn) WriteBy(t time.Time) { c.out.clock.want = t }

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
		return os.ErrDeadlineExceeded
	}
	c.out.clock.armed = time.Time{}
	return c.nc.SetWriteDeadline(time.Time{})
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
