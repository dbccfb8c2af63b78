package front

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// The states of a connection. Whoever moves it out of idle owns what follows.
const (
	busy int32 = iota
	idle
	closing
	called // to hand itself over
)

// conn is one client connection, carried by one goroutine.
type conn struct {
	server   *Server
	listener *Listener
	sock     *rawconn.Conn
	remote   string // the client's IP address, or "" on a unix socket
	state    atomic.Int32

	number    uint64
	since     time.Time
	caller    atomic.Int64
	exchanges atomic.Uint64          // begun
	route     atomic.Pointer[string] // of the last one
	tunnel    atomic.Bool
	heading   atomic.Bool // in a head that began before Leave; who sets it to false may go on, or interrupts
	hurried   bool        // in a head that began after Leave
	unwanted  bool        // Hand did not take it, or nobody wants it any more
	handed    bool        // Hand did

	known   bool           // who is there was asked for
	who     *caller.Caller // with the groups; nil: not asked for, or not found out
	doubted bool           // it was found to be two
	seat    Seat           // nil: it needs none, or has none
	excess  bool           // it has none
	holds   int64          // bytes of memory for exchanges
	crowded error          // why it is to be sent away

	crowdedUntil time.Time // when it goes unheard
}

func newConn(s *Server, l *Listener, nc net.Conn) (*conn, error) {
	sock, err := rawconn.New(nc)
	if err != nil {
		return nil, err
	}
	c := &conn{server: s, listener: l, sock: sock, number: s.numbers.Add(1), since: time.Now()}
	c.caller.Store(NoCaller)
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort().Addr().Unmap().String()
	}
	return c, nil
}

// serve carries the connection until it ends.
func (c *conn) serve() {
	defer c.server.forget(c)
	defer c.end()
	if c.limits().EachCaller && !c.ask() {
		return // enough others are being told
	}
	for {
		buf, n, ok := c.await()
		if !ok || !c.serveBuffered(buf, n) {
			return
		}
	}
}

// end closes the connection, and keeps a fault of ours in one exchange from
// ending all the others.
func (c *conn) end() {
	if fault := recover(); fault != nil {
		c.server.Log.Error("an exchange panicked; this is a bug", "event", "bug", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
		_ = c.sock.Reset() // what was answered must not look complete
	}
	c.letGo()
	if !c.handed {
		_ = c.sock.Close() // whatever had to be said has been said
	}
}

// await waits for the first bytes of a request. Nothing but the connection
// itself is held meanwhile.
func (c *conn) await() (buf []byte, n int, ok bool) {
	if c.server.leaving.Load() && c.hand() {
		return nil, 0, false
	}
	c.sock.ReadWithin(c.patience())
	c.state.Store(idle)
	if c.ending() && c.sock.Quiet() { // Drain may have passed by before we were idle
		return nil, 0, false
	}
	if c.server.leaving.Load() && !c.unwanted { // and so may Leave
		c.state.CompareAndSwap(idle, called)
		c.sock.Interrupt()
	}
	buf, n, err := c.sock.ReadLease(c.server.Buffers)
	switch {
	case c.state.CompareAndSwap(idle, busy):
		return buf, n, err == nil
	case c.state.CompareAndSwap(called, busy):
		return c.answerCall(buf, n, err)
	case err == nil:
		c.server.Buffers.Put(buf)
	}
	return nil, 0, false
}

// call makes the connection hand itself over if it is between exchanges. The
// server's mutex is held.
func (c *conn) call() {
	if c.state.CompareAndSwap(idle, called) {
		c.sock.Interrupt() // its goroutine sees it
	}
}

// answerCall hands the connection over, unless a request has begun, which goes
// first, or nobody takes it.
func (c *conn) answerCall(buf []byte, n int, err error) ([]byte, int, bool) {
	c.server.mu.Lock()   // the interruption may still be on its way
	c.server.mu.Unlock() //nolint:staticcheck // to wait for it is all
	c.sock.Resume()
	switch {
	case err == nil:
		return buf, n, true
	case !errors.Is(err, rawconn.ErrInterrupted):
		return nil, 0, false
	}
	return c.await()
}

// hand gives the connection to whoever serves next. What it has received and nobody
// has read yet goes with it.
func (c *conn) hand() bool {
	if c.unwanted {
		return false
	}
	nc := c.sock.NetConn()
	if err := nc.SetDeadline(time.Time{}); err == nil && c.server.Hand != nil {
		c.server.mu.Lock() // Cut finds it here, or no more
		if c.handed = c.server.Hand(c.listener, nc); c.handed {
			delete(c.server.conns, c)
		}
		c.server.mu.Unlock()
	}
	c.unwanted = !c.handed
	return c.handed
}

func (c *conn) limits() *Limits { return c.server.limits.Load() }

// ending reports whether the connection is to take no more exchanges.
func (c *conn) ending() bool {
	return c.server.draining.Load() || c.listener.removed.Load() || c.unwanted
}

// closeIdle closes the connection if it is between exchanges. A request that has
// come in and was not read yet is answered first.
func (c *conn) closeIdle() {
	if c.sock.Quiet() && c.state.CompareAndSwap(idle, closing) {
		_ = c.sock.Close() // its goroutine sees it
	}
}

// serveBuffered serves the exchanges that have begun, and reports whether the
// connection may be kept for more.
func (c *conn) serveBuffered(buf []byte, n int) bool {
	x := c.server.takeExchange()
	x.begin(c, buf, n)
	if c.crowded == nil && !c.hold(headMemory) {
		c.crowd(ErrMemory)
	}
	keep := true
	for keep && !x.rests() {
		keep = c.serveOne(x)
	}
	x.release()
	c.letGo()
	return keep
}

// rests reports whether no request has begun. An empty line alone is none:
// clients of old send it after a body, RFC 9112 2.2.
func (x *Exchange) rests() bool {
	if string(x.reader.Buffered()) == "\r\n" {
		x.reader.Take(2)
	}
	return x.reader.Empty()
}

// serveOne reads one head and has its exchange handled.
func (c *conn) serveOne(x *Exchange) bool {
	x.reset()
	if !c.count() {
		return false
	}
	head, err := x.readHead()
	if err != nil && !x.refuse(err) {
		return false
	}
	x.equip()
	if err == nil {
		x.understand(head)
	}
	if x.crowded = c.crowded; x.crowded != nil {
		x.closing = true
	}
	if x.Broken != nil {
		c.server.countOversized(x.Broken)
	}
	c.server.Handler(x)
	return x.finish()
}

// refuse prepares the exchange for an answer to a head that did not come whole,
// and reports whether there is anybody to answer.
func (x *Exchange) refuse(err error) bool {
	var broken *http1.Error
	switch {
	case errors.As(err, &broken):
		x.Broken = broken
	case x.conn.crowded != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrMemory)):
		x.Broken = ErrCrowded
	case errors.Is(err, rawconn.ErrInterrupted), x.conn.hurried && errors.Is(err, os.ErrDeadlineExceeded):
		x.Broken = ErrLate
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.Broken = &http1.Error{Status: 408, Reason: "the request head took too long"}
	default:
		return false
	}
	x.Request = http1.Request{Fields: x.Request.Fields[:0], Minor: 1, MaxForwards: -1}
	x.head = false
	x.Body.Open(&x.reader, http1.NoBody, 0, nil)
	x.closing = true
	return true
}

func (s *Server) countOversized(e *http1.Error) {
	switch e {
	case http1.ErrHeadTooLarge:
		s.Oversized.Heads.Add(1)
	case http1.ErrTooManyFields:
		s.Oversized.Fields.Add(1)
	case http1.ErrTargetTooLong:
		s.Oversized.Targets.Add(1)
	}
}

// understand parses a whole head and opens the body behind it.
func (x *Exchange) understand(head []byte) {
	if err := x.Request.Parse(head, x.conn.limits().Limits); err != nil {
		x.Broken = err
		x.closing = true
		x.Request.Framing = http1.NoBody
	}
	x.closing = x.closing || x.Request.Close
	x.head = string(x.Request.Method) == "HEAD"
	x.reader.Src = bodySource{x.conn}
	x.Body.Open(&x.reader, x.Request.Framing, x.Request.Length, nil)
	x.Body.DropTrailers = x.Request.Private
}

// bodySource reads a request's body, with a bound on every pause.
type bodySource struct{ *conn }

// Read implements io.Reader.
func (b bodySource) Read(p []byte) (int, error) {
	b.sock.ReadWithin(b.limits().BodyTimeout)
	return b.sock.Read(p)
}
