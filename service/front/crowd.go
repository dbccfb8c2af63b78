package front

import (
	"errors"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Why an exchange is not to be carried, by Exchange.Crowded.
var (
	ErrFull       = errors.New("as many clients are connected as may be")
	ErrCallerFull = errors.New("the caller has as many connections as one may have")
	ErrMemory     = errors.New("the memory for exchanges is used up")
)

// ErrCrowded is Broken of an exchange that is not to be carried, by Crowded, and whose head
// has not come whole.
var ErrCrowded = &http1.Error{Status: 503, Reason: "there is no room"}

// Seats bounds how many connections are open.
type Seats interface {
	// Enter counts a connection, if there is room for it.
	Enter() (Seat, bool)
}

// Seat is a connection's place among those that are open.
type Seat interface {
	// Claim counts the connection for its caller, a uid or NoCaller, if it may have
	// one more. It must be left otherwise.
	Claim(caller int64) bool
	Leave()
}

// Budget is memory that connections share.
type Budget interface {
	Acquire(bytes int64) bool
	Release(bytes int64)
}

// A connection that finds no seat, or may not keep it, is kept for as long as it takes to
// tell it so. Those that come when many are being told are closed at once. The accept loop
// never waits for them: what waits in a listener's backlog knows nothing, and waits for long.
const (
	maxExcess = 64
	crowdTime = 2 * time.Second // in all, to send a request that can be answered
)

// MaxExcess is how many connections there may be for a moment beyond those that have
// seats.
const MaxExcess = maxExcess

// exchangeMemory is what an exchange holds: the buffers of the request, of what is sent
// of it, of what comes from the upstream and of the answer. Heads that are larger than a
// buffer hold more, by grow, and so do bodies that are kept for another attempt.
// Until its head has come, it holds the buffer of that only.
const (
	headMemory     = rawconn.BufferSize
	exchangeMemory = 4 * rawconn.BufferSize
)

// sit finds the connection a seat, and reports whether it is to be served.
func (c *conn) sit() bool {
	s := c.server
	if s.Seats == nil {
		return true
	}
	seat, ok := s.Seats.Enter()
	if ok {
		c.seat = seat
		return true
	}
	return c.exceed(ErrFull)
}

// exceed counts the connection as one that has no seat, and reports whether it is to be
// told why.
func (c *conn) exceed(why error) bool {
	s, most := c.server, int64(maxExcess)
	if errors.Is(why, ErrCallerFull) { // one caller must not have all places at which others are told
		most /= 2
	}
	if s.excess.Add(1) > most {
		s.excess.Add(-1)
		return false
	}
	c.excess = true
	c.crowd(why)
	return true
}

// crowd makes the next exchange the last, whatever it is, and soon.
func (c *conn) crowd(why error) { c.crowded, c.crowdedUntil = why, time.Now().Add(crowdTime) }

// stand gives the seat up.
func (c *conn) stand() {
	if c.seat != nil {
		c.seat.Leave()
		c.seat = nil
	}
	if c.excess {
		c.excess = false
		c.server.excess.Add(-1)
	}
}

// claim counts the connection for its caller, once that is known, and reports whether it
// is to be served. One that its caller may not have leaves its seat at once: those of a
// single caller would fill the room for all others otherwise.
func (c *conn) claim() bool {
	if c.seat == nil || c.seat.Claim(c.caller.Load()) {
		return true
	}
	c.stand()
	return c.exceed(ErrCallerFull)
}

// patience is how long the connection may be silent before a request.
func (c *conn) patience() time.Duration {
	t := c.limits().IdleTimeout
	return c.soon(t)
}

// soon is t, or less if the connection is to be sent away.
func (c *conn) soon(t time.Duration) time.Duration {
	if c.crowded != nil {
		t = min(t, max(time.Until(c.crowdedUntil), 1))
	}
	return t
}

// hold takes memory for exchanges, and reports whether there is enough.
func (c *conn) hold(bytes int64) bool {
	b := c.server.Memory
	if b == nil {
		return true
	}
	if !b.Acquire(bytes) {
		return false
	}
	c.holds += bytes
	return true
}

// letGo gives it back. To give back a second time does nothing.
func (c *conn) letGo() {
	if c.holds > 0 {
		c.server.Memory.Release(c.holds)
		c.holds = 0
	}
}

// Crowded returns why the exchange is not to be carried, or nil: there are too many
// connections, or too little memory. Its connection ends after the answer.
func (x *Exchange) Crowded() error { return x.crowded }
