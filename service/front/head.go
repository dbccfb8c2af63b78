package front

import (
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// headPatience is how long after Leave a head that has begun may take. Everybody else
// waits for the next process meanwhile.
const headPatience = 2 * time.Second

// ErrLate is why a head that was under way when the server left is not served.
var ErrLate = &http1.Error{Status: 503, Reason: "the daemon is restarting, and the rest of the request head did not come; try again"}

// readHead reads until the head is whole and takes it from the reader.
func (x *Exchange) readHead() ([]byte, error) {
	limits := x.conn.limits()
	x.reader.Src = x.conn.sock
	from, skipped, timed := 0, false, false
	defer func() {
		if timed {
			x.conn.endHead()
		}
	}()
	for {
		if !skipped {
			skipped = x.skipEmptyLine()
		}
		n, next, err := http1.FindHead(x.reader.Buffered(), from)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return x.reader.Take(n), nil
		}
		from = next
		if full := len(x.reader.Buffered()) == len(x.reader.Buf); full {
			if len(x.reader.Buf) >= limits.Head {
				return nil, http1.HeadTooLarge(x.reader.Buffered())
			}
			if !x.grow(min(2*len(x.reader.Buf), limits.Head)) {
				x.conn.crowd(ErrMemory)
				return nil, ErrMemory
			}
		}
		if !timed {
			timed = true
			x.conn.beginHead()
		}
		if err := x.reader.Fill(); err != nil {
			return nil, err
		}
	}
}

// grow makes room for a head of n bytes, here and where it is written for the upstream,
// if there is the memory for it.
func (x *Exchange) grow(n int) bool {
	if !x.conn.hold(2 * int64(n-len(x.reader.Buf))) {
		return false
	}
	x.conn.server.Buffers.Put(x.reader.Grow(n))
	return true
}

// beginHead bounds how long the rest of a head may take that did not come at once.
func (c *conn) beginHead() {
	long := c.limits().HeaderTimeout
	c.hurried = c.server.leaving.Load() && c.server.patience() < long
	if c.hurried {
		long = c.server.patience()
	}
	c.sock.ReadBy(time.Now().Add(c.soon(long)))
	c.heading.Store(!c.hurried)
}

// endHead makes the connection one that reads no head any more.
func (c *conn) endHead() {
	if c.hurried || c.heading.CompareAndSwap(true, false) {
		return
	}
	c.server.mu.Lock()   // the interruption may still be on its way
	c.server.mu.Unlock() //nolint:staticcheck // to wait for it is all
	c.sock.Resume()
}

// hurry ends heads that were under way when the server left and still are.
func (s *Server) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.heading.CompareAndSwap(true, false) {
			c.sock.Interrupt()
		}
	}
}

func (s *Server) patience() time.Duration {
	if s.headPatience > 0 {
		return s.headPatience
	}
	return headPatience
}

// skipEmptyLine takes one empty line before a request line, and reports whether
// the question is settled.
func (x *Exchange) skipEmptyLine() bool {
	b := x.reader.Buffered()
	switch {
	case len(b) == 0 || len(b) == 1 && b[0] == '\r':
		return false
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		x.reader.Take(2)
	}
	return true
}
