package front

import (
	"errors"
	"io"
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
	framing http1.Framing // of the answer
	left    int64         // of a ByLength answer
	closing bool          // the connection ends after this exchange
	written int64
	err     error // of a write
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
	x.out = c.server.Buffers.Get()[:0]
}

func (x *Exchange) reset() {
	x.Broken, x.err = nil, nil
	x.out, x.stage, x.closing, x.written = x.out[:0], nothing, false, 0
	x.Request.Method, x.Request.Target = nil, nil
}

func (x *Exchange) release() {
	s := x.conn.server
	s.Buffers.Put(x.reader.Buf)
	s.Buffers.Put(x.out)
	x.reader.Reset(nil, 0)
	x.reader.Src, x.out, x.conn = nil, nil, nil
	s.exchanges.Put(x)
}

// Listener returns the name of the listener the request came by.
func (x *Exchange) Listener() string { return x.conn.listener.Name }

// Remote returns the client's IP address, or "" on a unix socket.
func (x *Exchange) Remote() string { return x.conn.remote }

// Begun reports whether any of a final answer has been given to Head.
func (x *Exchange) Begun() bool { return x.stage != nothing }

// CloseAfter ends the connection after this exchange. Call it before Head.
func (x *Exchange) CloseAfter() { x.closing = true }

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
func (x *Exchange) StopBody() { x.conn.sock.Interrupt() }

// Informational writes a 1xx response at once, to clients that know them.
func (x *Exchange) Informational(r *http1.Response) error {
	if x.Request.Minor == 0 {
		return nil
	}
	x.out = http1.AppendStatusLine(x.out, r.Status, r.Reason)
	x.out = http1.AppendFields(x.out, r.Fields)
	x.out = append(x.out, '\r', '\n')
	return x.Flush()
}

// Head begins the answer. framing and length are those of its body as it will be
// written; ByClose is a body whose length is not known. With NoBody a length
// that is not negative is what a body would have had. Fields must not frame the
// body or govern the connection.
func (x *Exchange) Head(status int, reason []byte, fields []http1.Field, framing http1.Framing, length int64) {
	if framing == http1.ByClose {
		framing = http1.Chunked
	}
	if framing == http1.Chunked && x.Request.Minor == 0 {
		framing = http1.ByClose
		x.closing = true
	}
	x.stage, x.framing, x.left = body, framing, length
	x.closing = x.closing || x.conn.server.draining.Load()
	x.out = http1.AppendStatusLine(x.out, status, reason)
	for i := range fields {
		f := &fields[i]
		if !f.Drop && (f.ID != http1.Trailer || framing == http1.Chunked) {
			x.out = http1.AppendField(x.out, f.Name, f.Value)
		}
	}
	switch {
	case framing == http1.NoBody && length >= 0 && status != 204 && status >= 200:
		x.out = http1.AppendFraming(x.out, http1.ByLength, length)
	default:
		x.out = http1.AppendFraming(x.out, framing, length)
	}
	switch {
	case status == 101:
		x.out = append(x.out, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	case x.closing:
		x.out = append(x.out, "Connection: close\r\n"...)
	}
	x.out = append(x.out, '\r', '\n')
}

// Write adds to the body. Small pieces are gathered until Flush or End; p may be
// reused afterwards.
func (x *Exchange) Write(p []byte) error {
	switch x.framing {
	case http1.NoBody:
		return nil // the answer to HEAD
	case http1.Chunked:
		return x.writeChunked(p)
	case http1.ByLength:
		if x.left -= int64(len(p)); x.left < 0 {
			return errors.New("BUG: more body than was announced")
		}
	}
	if len(x.out)+len(p) <= cap(x.out) {
		x.out = append(x.out, p...)
		return nil
	}
	// Fill what was begun, so that a head goes out with the start of its body.
	if room := cap(x.out) - len(x.out); len(x.out) > 0 {
		x.out = append(x.out, p[:room]...)
		p = p[room:]
		if err := x.Flush(); err != nil {
			return err
		}
	}
	if len(p) < cap(x.out)/2 {
		x.out = append(x.out, p...)
		return nil
	}
	return x.write(p)
}

func (x *Exchange) writeChunked(p []byte) error {
	for len(p) > 0 {
		room := cap(x.out) - len(x.out) - http1.ChunkOverhead
		if room < min(len(p), 1024) {
			if err := x.Flush(); err != nil {
				return err
			}
			continue
		}
		n := min(room, len(p))
		x.out = http1.AppendChunk(x.out, p[:n])
		p = p[n:]
	}
	return nil
}

// Flush writes what was gathered.
func (x *Exchange) Flush() error {
	if len(x.out) == 0 {
		return x.err
	}
	err := x.write(x.out)
	x.out = x.out[:0]
	return err
}

func (x *Exchange) write(p []byte) error {
	if x.err != nil {
		return x.err
	}
	x.conn.sock.WriteBy(time.Now().Add(x.conn.server.Limits.BodyTimeout))
	n, err := x.conn.sock.Write(p)
	x.written += int64(n)
	x.err = err
	return err
}

// End completes the answer. An answer shorter than announced is aborted instead.
func (x *Exchange) End(trailers []http1.Field) error {
	if x.framing == http1.ByLength && x.left > 0 {
		x.Abort()
		return io.ErrUnexpectedEOF
	}
	if x.framing == http1.Chunked {
		x.out = http1.AppendLastChunk(x.out, trailers)
	}
	x.stage = ended
	return x.Flush()
}

// Abort ends the exchange so that what was written cannot pass for complete.
func (x *Exchange) Abort() {
	x.stage = aborted
	x.closing = true
}

// Written returns how many bytes of the answer the socket has taken.
func (x *Exchange) Written() int64 { return x.written }

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
	// A client that closes by itself and has been read to the end needs no care.
	if !(x.Request.Close && x.Broken == nil && x.Body.Done() && x.reader.Empty()) {
		c.linger(x.out[:cap(x.out)])
	}
	return false
}

// Answer writes a whole answer with a short text body.
func (x *Exchange) Answer(status int, reason string, fields []http1.Field, text string) error {
	framing := http1.ByLength
	if string(x.Request.Method) == "HEAD" {
		framing = http1.NoBody
	}
	x.DiscardBody()
	x.Head(status, []byte(reason), fields, framing, int64(len(text)))
	if err := x.Write([]byte(text)); err != nil {
		return err
	}
	return x.End(nil)
}
