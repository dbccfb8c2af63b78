package front

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// ErrGone says that the client is no longer there to be answered.
var ErrGone = errors.New("the client has closed the connection")

// ErrCancelled says that the server ends its exchanges.
var ErrCancelled = errors.New("the daemon is stopping")

// Exchange is one request and what is answered to it. The handler writes either
// nothing and calls Abort, or Head, any number of Writes and End, or Tunnel.
type Exchange struct {
	// Request is valid until more of the body is read: that goes into the buffer
	// in which the head stands.
	Request http1.Request
	// Broken is why the request could not be understood, or nil. Then only
	// Method and Target of the Request may be set.
	Broken *http1.Error
	// Body reads the request's body.
	Body http1.Body

	conn   *conn
	reader http1.Reader
	out    []byte // what is answered and not written yet

	stage   stage
	status  int
	framing http1.Framing // of the answer
	left    int64         // of a ByLength answer
	head    bool          // the request's method is HEAD
	closing bool          // the connection ends after this exchange
	cut     atomic.Bool   // StopBody was called
	written int64
	before  int64 // what was written when the answer began
	err     error // of a write
	crowded error // why it is not to be carried

	from struct{ in, out int64 } // where the exchange began in the connection's streams
}

type stage uint8

const (
	nothing stage = iota // of the answer has been written
	body                 // the head has been written
	ended
	aborted
	tunnelled
)

func (x *Exchange) begin(c *conn, buf []byte, n int) {
	x.conn = c
	x.reader.Reset(buf, n)
}

// equip takes what an exchange needs beside the buffer of its head, for all that follow
// at once, too.
func (x *Exchange) equip() {
	if x.out != nil {
		return
	}
	c := x.conn
	x.out = c.server.Buffers.Get()[:0]
	if c.crowded == nil && !c.hold(exchangeMemory-headMemory) {
		c.crowd(ErrMemory)
	}
}

func (x *Exchange) reset() {
	x.Broken, x.err = nil, nil
	x.out, x.stage, x.status, x.closing, x.written = x.out[:0], nothing, 0, false, 0
	x.cut.Store(false)
	x.from.in, x.from.out = x.conn.sock.Received()-int64(len(x.reader.Buffered())), x.conn.sock.Written()
}

func (x *Exchange) release() {
	s := x.conn.server
	x.dropBuffer()
	s.Buffers.Put(x.out)
	x.reader.Src, x.out, x.conn = nil, nil, nil
	s.exchanges.Put(x)
}

// dropBuffer gives the reader's buffer back.
func (x *Exchange) dropBuffer() {
	x.conn.server.Buffers.Put(x.reader.Buf)
	x.reader.Reset(nil, 0)
}

// Source returns the listener the request came by.
func (x *Exchange) Source() *Listener { return x.conn.listener }

// Remote returns the client's IP address, or "" on a unix socket.
func (x *Exchange) Remote() string { return x.conn.remote }

// Caller returns the uid of the caller, or NoCaller.
func (x *Exchange) Caller() int64 { return x.conn.caller.Load() }

// Take says by which route the exchange goes, for Connections. The name must not
// change.
func (x *Exchange) Take(route *string) { x.conn.route.Store(route) }

// Begun reports whether any of a final answer has been given to Head.
func (x *Exchange) Begun() bool { return x.stage != nothing }

// CloseAfter ends the connection after this exchange. Call it before Head.
func (x *Exchange) CloseAfter() { x.closing = true }

// ahead reports whether the client has begun another request already. Its bytes are in
// our buffer: nobody can hand them over.
func (x *Exchange) ahead() bool {
	return x.Body.Done() && !x.reader.Empty() && string(x.reader.Buffered()) != "\r\n"
}

// DiscardBody passes over a body that nobody wants: it is skipped if it is all
// here, otherwise the connection will close after the answer.
func (x *Exchange) DiscardBody() {
	if !x.Body.Complete() {
		x.closing = true
		return
	}
	for {
		if p, err := x.Body.Step(); p == nil || err != nil {
			return
		}
	}
}

// errWaited ends a wait whose time is over.
var errWaited = errors.New("waited long enough")

// GatherBody waits until a small body of known length is here as a whole, so that nothing
// of the upstream's is held for a client that sends slowly. It leaves other bodies alone,
// and gives up, without an error, at the time of until, if that is not zero.
func (x *Exchange) GatherBody(until time.Time) error {
	if x.Body.Complete() {
		return nil
	}
	x.conn.sock.Tick = func() error {
		if !until.IsZero() && time.Now().After(until) {
			return errWaited
		}
		return x.Abandoned()
	}
	err := x.Body.Gather()
	x.conn.sock.Tick = nil
	if errors.Is(err, errWaited) {
		return nil
	}
	return err
}

// Abandoned tells why nobody waits for the answer any more, or nil. It may be
// called from any goroutine during the exchange.
func (x *Exchange) Abandoned() error {
	c := x.conn
	if c.server.cut.Load() {
		return ErrCancelled
	}
	switch c.sock.Peer() {
	case rawconn.Gone:
		return ErrGone
	case rawconn.HalfClosed:
		// A unix socket tells a client that has only ended its own stream from
		// one that is gone; TCP does not, so whoever can is asked.
		if c.remote != "" && (c.server.Reading == nil || !c.server.Reading(c.sock.LocalAddr(), c.sock.RemoteAddr())) {
			return ErrGone
		}
	}
	return nil
}

// StopBody makes a waiting Body.Next return. The connection cannot be kept.
func (x *Exchange) StopBody() {
	x.cut.Store(true)
	x.conn.sock.Interrupt()
}

// finish brings the connection to where the exchange leaves it, and reports
// whether it may be kept.
func (x *Exchange) finish() bool {
	c := x.conn
	switch {
	case x.stage == tunnelled:
		return false
	case x.stage != ended || x.err != nil:
		_ = c.sock.Reset() // nothing else can be done for this client
		return false
	case !x.closing && x.Body.Done():
		return true
	}
	// A client that closes by itself and has sent nothing more needs no care.
	if !x.Request.Close || x.Broken != nil || !x.Body.Done() || !x.reader.Empty() || !c.sock.Quiet() {
		c.linger(x.out[:cap(x.out)])
	}
	return false
}
