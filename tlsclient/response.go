package tlsclient

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// maxInformational is how many 1xx responses may come before the final one.
const maxInformational = 16

// Response is what an upstream answered. After Do its head is valid, and its
// body can be read with Next until Close. A Response may be used again.
type Response struct {
	http1.Response
	Body http1.Body

	// How it came about; set after an error too, as far as it went.
	Endpoint   string // host:port
	Attempts   int    // how often a connection was tried
	Reused     bool   // the connection had carried exchanges before
	TLSVersion uint16
	Serial     string        // of the server's certificate, hexadecimal
	Generation *Generation   // of the identity shown to it; nil without a connection
	Queue      time.Duration // waiting for a connection
	Connect    time.Duration // making one
	FirstByte  time.Time     // zero: nothing came

	exchange exchange
	conn     *conn
}

// roundTrip sends the request over c and reads the head of its response.
func (r *Response) roundTrip(c *conn, req *Request) error {
	r.conn = c
	c.uses++
	r.exchange.tryEnd = time.Time{}
	r.Endpoint, r.Reused = c.link.endpoint.name, c.uses > 1
	r.TLSVersion, r.Serial, r.Generation = c.version, c.serial, c.link.pool.generation
	c.begin(&r.exchange)
	c.reader.Reset(c.link.pool.upstream.opt().Buffers.Get(), 0)
	if c.uses == 1 && c.records.unasked(c.tls) {
		return r.bad(errors.New("it came before the request"))
	}
	if err := r.send(req); err != nil {
		return r.readError(err)
	}
	informational := 0
	for ; ; informational++ {
		r.exchange.awaitHead(c)
		if err := r.readHead(req); err != nil {
			return r.readError(err)
		}
		if r.Status >= 200 || r.Status == 101 {
			break
		}
		if informational == maxInformational {
			return r.bad(errors.New("too many informational responses"))
		}
		r.exchange.informed = true
		if err := req.Client.Informational(&r.Response); err != nil {
			r.exchange.stopped = err
			return err
		}
	}
	r.exchange.due, r.exchange.tryEnd = true, time.Time{}
	if !r.exchange.check {
		c.link.answered(r.Status)
	}
	if c.sock.Held() {
		return r.bad(errors.New("it came before the request"))
	}
	if err := r.checkUpgrade(req); err != nil {
		return err
	}
	r.Body.Open(&c.reader, r.Framing, r.Length, c.cleanFn)
	r.Body.DropTrailers = r.Private
	c.headed = r.FirstByte
	if informational > 0 {
		c.headed = time.Now()
	}
	if c.pass.probe || c.pass.excused || r.Status == 101 { // the rest may take long
		c.link.pool.upstream.alive(c)
	}
	return nil
}

func (r *Response) readHead(req *Request) error {
	c := r.conn
	limits := c.link.pool.upstream.opt().Limits
	from := 0
	for {
		n, next, err := http1.FindHead(c.reader.Buffered(), from)
		if err != nil {
			return r.bad(err)
		}
		if n > 0 {
			if err := r.Parse(c.reader.Take(n), string(req.Method) == "HEAD", limits); err != nil {
				return r.bad(err)
			}
			return nil
		}
		from = next
		if len(c.reader.Buffered()) == len(c.reader.Buf) {
			if len(c.reader.Buf) >= limits.Head {
				return r.bad(http1.HeadTooLarge(c.reader.Buffered()))
			}
			c.link.pool.upstream.opt().Buffers.Put(c.reader.Grow(limits.Head))
		}
		if err := c.reader.Fill(); err != nil {
			return err
		}
		if !r.exchange.answered {
			r.exchange.answered = true
			r.FirstByte = time.Now()
		}
	}
}

// checkUpgrade accepts 101 only as the answer to our own wish.
func (r *Response) checkUpgrade(req *Request) error {
	if r.Status != 101 {
		return nil
	}
	if !req.WebSocket || !http1.EqualFold(r.Upgrade, "websocket") {
		return r.bad(errors.New("it switched to a protocol nobody asked for"))
	}
	return nil
}

// Next returns the next bytes of the body, valid until the call after; io.EOF
// comes after the last. Any other error is an *Error or the Client's.
func (r *Response) Next() ([]byte, error) {
	if err := r.overdue(); err != nil {
		return nil, err
	}
	p, err := r.Body.Step()
	if p == nil && err == nil {
		c := r.conn
		c.sock.ReadWithin(c.link.pool.upstream.opt().BodyIdleTimeout)
		p, err = r.Body.Next()
	}
	if err != nil && err != io.EOF { //nolint:errorlint // Body returns io.EOF itself for the end
		return nil, r.bodyError(err)
	}
	return p, err
}

// Ready is Next without waiting: it returns neither bytes nor an error when more
// would have to come from the network. It makes no system call.
func (r *Response) Ready() ([]byte, error) {
	if err := r.overdue(); err != nil {
		return nil, err
	}
	p, err := r.Body.Step()
	if p != nil || r.Body.Done() {
		return p, err
	}
	if err == nil {
		r.conn.records.dry = true
		p, err = r.Body.Next()
		r.conn.records.dry = false
	}
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // Body returns io.EOF itself for the end
		return p, err
	case errors.Is(err, rawconn.ErrWouldBlock):
		return nil, nil
	}
	return nil, r.bodyError(err)
}

// overdue ends a body whose exchange has taken too long: while its client is slower than
// the upstream, nobody waits, and so nobody else looks at the time.
func (r *Response) overdue() error {
	if r.Body.Done() {
		return nil
	}
	return r.exchange.overdue()
}

// bad is a response that breaks the protocol.
func (r *Response) bad(err error) error {
	return r.fail(UpstreamBadResponse, fmt.Errorf("bad response: %w", err))
}

// fail makes an error of what was the upstream's fault. Its breaker counts it, unless it
// is the end of an idle connection or of an old certificate's, or of waiting for a client
// that takes its time.
func (r *Response) fail(class Class, err error) *Error {
	c, ex := r.conn, &r.exchange
	stale := class == UpstreamReset && c.uses > 1 && !ex.answered || c.link.outdated(class)
	if !stale && (class == UpstreamBadResponse || !ex.upload.waiting()) {
		c.came = failed
	}
	return c.link.fail(ex, class, FaultUpstream, err)
}

// late is the end of an exchange that took too long in all, or whose client is gone.
func (r *Response) late() error {
	ex := &r.exchange
	all := ex.upload == nil && ex.hadItsTime() // a body's time is its client's
	if e := asError(ex.stopped); e != nil && e.Fault == FaultUpstream && r.conn.headed.IsZero() && all {
		r.conn.came = failed
	}
	return ex.stopped
}

// readError explains why no head came.
func (r *Response) readError(err error) error {
	if e := asError(err); e != nil {
		return e
	}
	if cause := r.interrupted(); cause != nil {
		return cause
	}
	switch {
	case errors.Is(err, rawconn.ErrStale):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && r.exchange.tick() != nil:
		return r.late()
	case errors.Is(err, os.ErrDeadlineExceeded) && r.exchange.overTry():
		return r.fail(UpstreamTimeout, fmt.Errorf("no response within %v, the bound of one try", r.exchange.policy.PerTry))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return r.fail(UpstreamTimeout, fmt.Errorf("no response within %v", r.conn.link.pool.upstream.opt().HeaderTimeout))
	case remoteAlert(err) != nil:
		return r.fail(alertClass(err), err)
	case errors.Is(err, io.EOF):
		return r.fail(UpstreamReset, errors.New("the connection ended before the response did"))
	}
	return r.fail(UpstreamReset, err)
}

// bodyError explains why the body did not go on.
func (r *Response) bodyError(err error) error {
	if cause := r.interrupted(); cause != nil {
		return cause
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && r.exchange.tick() != nil:
		return r.exchange.stopped
	case errors.Is(err, os.ErrDeadlineExceeded):
		return r.fail(UpstreamTimeout, fmt.Errorf("the response paused for more than %v", r.conn.link.pool.upstream.opt().BodyIdleTimeout))
	case isProtocol(err):
		return r.bad(err)
	case alertClass(err) == ClientCertRejected:
		return r.fail(ClientCertRejected, err)
	}
	return r.fail(UpstreamReset, err)
}

// interrupted is why our own side ended the exchange, if it did.
func (r *Response) interrupted() error {
	if up := r.exchange.upload; up != nil {
		if err := up.clientError(); err != nil {
			return err
		}
	}
	if r.exchange.stopped != nil {
		return r.late()
	}
	if e := r.conn.doomed(); e != nil {
		return e
	}
	return nil
}

func isProtocol(err error) bool {
	var p *http1.Error
	return errors.As(err, &p)
}

// Close ends the exchange. The connection goes back to the pool if both
// messages have come to their proper end on it, and closes otherwise. Closing
// twice is harmless.
func (r *Response) Close() {
	if r.conn != nil {
		r.finish(r.reusable())
	}
	r.exchange.replay.free()
}

// discard ends an attempt that another one follows. What is at hand of a response is
// read, so that its connection may be used again.
func (r *Response) discard(err error) {
	switch {
	case r.conn == nil:
		return
	case err != nil:
		r.drop()
		return
	}
	for n := 0; n < maxDiscard; {
		p, err := r.Ready()
		if p == nil || err != nil {
			break
		}
		n += len(p)
	}
	r.finish(r.reusable())
}

// maxDiscard is how much of a response that is not wanted is read.
const maxDiscard = 64 << 10

// drop ends an attempt that failed.
func (r *Response) drop() {
	if r.conn != nil {
		r.finish(false)
	}
}

func (r *Response) reusable() bool {
	c := r.conn
	return r.Body.Done() && !r.Response.Close && r.Status != 101 && r.sent() &&
		c.reader.Empty() && c.records.drained(c.tls)
}

// sentWhole is sent without waiting for it.
func (r *Response) sentWhole() bool {
	up := r.exchange.upload
	return up == nil || up.finished() && up.succeeded()
}

// sent reports whether the request went out whole.
func (r *Response) sent() bool {
	up := r.exchange.upload
	return up == nil || up.succeeded()
}

// Early reports whether the response began before the end of the request was on
// its way.
func (r *Response) Early() bool {
	up := r.exchange.upload
	return up != nil && !up.last.Load()
}

func (r *Response) finish(reusable bool) {
	c := r.conn
	if up := r.exchange.upload; up != nil {
		up.stop()
		r.exchange.upload = nil
	}
	if !c.headed.IsZero() && c.came == unknown && r.Status != 101 { // whose client may have left before the end
		c.came = answered
	}
	c.look.stop()
	c.impatient()
	c.end()
	r.release(reusable)
}

// leave gives back the connection of an attempt that failed while the upload still goes on,
// which from then on only copies what the client sends.
func (r *Response) leave() {
	r.conn.cut() // the upload may be writing
	r.release(false)
}

func (r *Response) release(reusable bool) {
	c := r.conn
	c.dropBuffer()
	r.conn = nil
	c.link.pool.upstream.release(c, reusable)
}
