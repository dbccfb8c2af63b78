package tlsclient

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// send writes the request. What is at hand goes out in one piece; the rest of a
// body is sent by another goroutine, since an upstream may answer early.
func (r *Response) send(req *Request) error {
	c := r.conn
	o := c.link.pool.upstream.opt()
	c.writtenBefore = c.sock.Written()
	c.sock.WriteWithin(o.BodyIdleTimeout)
	out := o.Buffers.Get()
	defer o.Buffers.Put(out)
	head := r.exchange.replay.again(req, out[:0])
	if ex := &r.exchange; ex.buffered || ex.replay.whole {
		c.sock.WriteWithin(ex.bound(o.BodyIdleTimeout)) // nobody looks at the time meanwhile
		c.sock.Hold(c.uses > 1)
		defer c.sock.Release()
		if ex.replay.whole {
			return writeReplay(c, head, req, &ex.replay)
		}
		return writeWhole(c, head, req)
	}
	if c.uses > 1 && !c.sock.Quiet() {
		return rawconn.ErrStale
	}
	up := &upload{conn: c, request: req, copy: &r.exchange.replay, done: make(chan struct{}), buffers: o.Buffers}
	first, err := up.next(head)
	if err != nil {
		return err
	}
	if o.BodyIdleTimeout > userTimeout || o.BodyIdleTimeout == 0 {
		c.patient(o.BodyIdleTimeout)
	}
	if _, err := c.tls.Write(first); err != nil {
		up.copy.over.Store(true) // nobody reads the rest
		return err
	}
	r.exchange.upload = up
	go up.run()
	return nil
}

// writeWhole writes a head and a body that is at hand.
func writeWhole(c *conn, out []byte, req *Request) error {
	for req.hasBody() {
		p, err := req.Body.Step()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return clientFault(err)
		}
		if len(out)+len(p)+http1.ChunkOverhead > cap(out) {
			if _, err := c.tls.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if req.Framing == http1.Chunked {
			out = http1.AppendChunkSize(out, len(p))
		}
		out = append(out, p...)
		if req.Framing == http1.Chunked {
			out = append(out, '\r', '\n')
		}
	}
	if req.Framing == http1.Chunked {
		out = http1.AppendLastChunk(out, req.Body.Trailers)
	}
	_, err := c.tls.Write(out)
	return err
}

// writeReplay writes a head and the copy of a body.
func writeReplay(c *conn, out []byte, req *Request, r *replay) error {
	if req.Framing == http1.Chunked && r.size > 0 {
		out = http1.AppendChunkSize(out, r.size)
	}
	for i := 0; i < r.size; {
		if _, err := c.tls.Write(out); err != nil {
			return err
		}
		p := r.from(i)
		out = append(out[:0], p...)
		i += len(p)
	}
	if req.Framing == http1.Chunked {
		if _, err := c.tls.Write(out); err != nil {
			return err
		}
		out = out[:0]
		if r.size > 0 {
			out = append(out, '\r', '\n')
		}
		out = http1.AppendLastChunk(out, req.Body.Trailers)
	}
	_, err := c.tls.Write(out)
	return err
}

// upload sends what remains of a request's body while the response is awaited.
type upload struct {
	conn    *conn
	request *Request
	copy    *replay // for another attempt
	buffers *rawconn.Buffers

	reading atomic.Bool // it waits for the client
	last    atomic.Bool // the end of the body is on its way, or out
	stopped atomic.Bool
	broken  atomic.Bool   // the client's side failed; err is set before
	done    chan struct{} // closed when run has returned; err is set before
	err     error
}

func (u *upload) run() {
	defer close(u.done)
	buf := u.buffers.Get()
	defer u.buffers.Put(buf)
	for !u.last.Load() && !u.stopped.Load() && (u.err == nil || u.copying()) {
		out, err := u.gather(buf[:0])
		if err != nil {
			u.err = clientFault(err)
			u.broken.Store(true)
			u.conn.cut()
			return
		}
		if u.err != nil {
			continue // it is copied only
		}
		if _, err := u.conn.tls.Write(out); err != nil {
			u.err = err // it may still have answered, so the response is awaited
			if !u.copying() {
				return
			}
		}
	}
	u.copy.whole = u.last.Load() && u.copying()
}

// copying reports whether the body may be sent again.
func (u *upload) copying() bool { return u.copy.wanted && !u.copy.over.Load() }

// gather waits for more of the body and frames it. Chunks that are at hand go
// together: a client's small ones must not each become a record.
func (u *upload) gather(dst []byte) ([]byte, error) {
	u.reading.Store(true)
	p, err := u.request.Body.Next()
	u.reading.Store(false)
	for {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		dst = u.frame(dst, p, err != nil)
		if u.request.Framing != http1.Chunked || u.last.Load() || cap(dst)-len(dst) < 1024 {
			return dst, nil
		}
		if p, err = u.request.Body.Step(); p == nil && err == nil {
			return dst, nil
		}
	}
}

// next appends what can be had of the body without waiting to the head.
func (u *upload) next(head []byte) ([]byte, error) {
	for cap(head)-len(head) > 1024 {
		p, err := u.request.Body.Step()
		if err != nil {
			return nil, clientFault(err)
		}
		if p == nil {
			break
		}
		head = u.frame(head, p, false)
	}
	return head, nil
}

// frame puts p under the request's framing; end marks the end of the body.
func (u *upload) frame(dst, p []byte, end bool) []byte {
	u.copy.add(p)
	if u.request.Framing == http1.ByLength {
		if u.request.Body.Done() {
			u.last.Store(true)
		}
		if len(dst) == 0 {
			return p
		}
		return append(dst, p...)
	}
	if len(p) > 0 {
		dst = http1.AppendChunk(dst, p)
	}
	if end {
		u.last.Store(true)
		dst = http1.AppendLastChunk(dst, u.request.Body.Trailers)
	}
	return dst
}

// stop makes run end and waits for it.
func (u *upload) stop() {
	if u.finished() {
		return
	}
	u.stopped.Store(true)
	u.conn.cut()
	if !u.last.Load() { // else nothing more is read of the client's, whose connection may be kept
		u.request.Client.StopBody()
	}
	<-u.done
}

func (u *upload) finished() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// waiting reports whether it is the client that is waited for. There may be no upload.
func (u *upload) waiting() bool { return u != nil && u.reading.Load() }

// finishTime is how long the write of a body's end may still take once the
// response to it is complete.
const finishTime = 100 * time.Millisecond

// succeeded reports whether the whole body went out. The response can be here
// before the goroutine is back from its last write; an upstream that answered
// without taking the body is not waited for.
func (u *upload) succeeded() bool {
	if !u.last.Load() {
		return false
	}
	if !u.finished() {
		timer := time.NewTimer(finishTime)
		defer timer.Stop()
		select {
		case <-u.done:
		case <-timer.C:
			return false
		}
	}
	return u.err == nil
}

// clientError is the client's fault that ended the exchange, if it was one.
func (u *upload) clientError() error {
	if !u.broken.Load() {
		return nil
	}
	return u.err
}

// clientFault marks what went wrong with a request's body.
func clientFault(err error) error {
	if e := asError(err); e != nil {
		return e
	}
	class := ClientGone
	if isProtocol(err) {
		class = BadRequest
	}
	return &Error{Class: class, Fault: FaultClient, Err: fmt.Errorf("reading the request's body: %w", err)}
}
