package front

import (
	"errors"
	"fmt"
	"io"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

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
	x.stage, x.status, x.framing, x.left, x.before = body, status, framing, length, x.written
	x.closing = x.closing || x.cut.Load() || x.conn.ending() || x.conn.server.leaving.Load() && x.ahead()
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
	x.conn.sock.WriteWithin(x.conn.limits().BodyTimeout)
	n, err := x.conn.sock.Write(p)
	x.written += int64(n)
	if err != nil {
		x.err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	return x.err
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

// Retract takes an answer back that has begun, if no byte of it has left, and
// reports whether it could. Then another may be given.
func (x *Exchange) Retract() bool {
	if x.stage != body || x.written != x.before || x.err != nil {
		return false
	}
	x.out, x.stage, x.status = x.out[:0], nothing, 0
	return true
}

// Abort ends the exchange so that what was written cannot pass for complete.
func (x *Exchange) Abort() {
	x.stage = aborted
	x.closing = true
}

// Status returns the status of the answer as it was given to Head, or 0.
func (x *Exchange) Status() int { return x.status }

// Traffic returns how many bytes have been read of the client's request and how
// many written to the client, heads and what frames the bodies included.
func (x *Exchange) Traffic() (in, out int64) {
	return x.conn.sock.Received() - int64(len(x.reader.Buffered())) - x.from.in, x.conn.sock.Written() - x.from.out
}

// Answer writes a whole answer with a short text body.
func (x *Exchange) Answer(status int, reason string, fields []http1.Field, text string) error {
	framing := http1.ByLength
	if x.head {
		framing = http1.NoBody
	}
	x.DiscardBody()
	x.Head(status, []byte(reason), fields, framing, int64(len(text)))
	if err := x.Write([]byte(text)); err != nil {
		return err
	}
	return x.End(nil)
}
