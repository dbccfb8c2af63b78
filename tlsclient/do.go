package tlsclient

import (
	"errors"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// maxAttempts bounds how often one exchange is tried. Idle connections that
// turned out closed before a byte was written do not count.
const maxAttempts = 3

// Do sends req and returns once the head of the final response is in resp, which
// must be closed after an error too. The error is an *Error, or what the
// request's Client returned.
//
// A request is sent again only if it cannot have been seen: nothing was written;
// or if nothing was answered, the method is idempotent, the whole body is still at
// hand, and it was the connection's fault: it had been used before, or belonged to an
// older generation whose certificate was refused, or this end cut it.
func (u *Upstream) Do(req *Request, resp *Response) error {
	ex := &resp.exchange
	ex.start(u, req)
	resp.Endpoint, resp.Attempts, resp.Reused, resp.FirstByte = "", 0, false, time.Time{}
	resp.TLSVersion, resp.Serial, resp.Generation = 0, "", nil
	err := u.try(req, resp)
	resp.Queue, resp.Connect = ex.queue, ex.connect
	if e := asError(err); e != nil && resp.Endpoint == "" {
		resp.Endpoint = e.Endpoint
	}
	return err
}

// try sends the request until it is answered or must not be sent again.
func (u *Upstream) try(req *Request, resp *Response) error {
	ex := &resp.exchange
	var mark http1.State
	if ex.replayable = !req.hasBody() || req.Body.Complete(); ex.replayable && req.hasBody() {
		mark = req.Body.Mark()
	}
	if !ex.replayable {
		if err := req.Body.Broken(); err != nil {
			return clientFault(err) // before a connection is spent on it
		}
	}
	fresh := false
	for {
		resp.Attempts++
		c, err := u.acquire(ex, fresh)
		if err != nil {
			if !ex.next(err) {
				return err
			}
			u.retries.Add(1)
			continue
		}
		err = resp.roundTrip(c, req)
		stale := errors.Is(err, rawconn.ErrStale)
		if !stale {
			u.countAttempt(c)
		}
		if err == nil {
			return nil
		}
		repeat := stale || ex.mayRepeat(c, err)
		resp.drop()
		if !repeat {
			return err
		}
		if stale {
			resp.Attempts--
		} else {
			u.retries.Add(1)
		}
		fresh = !stale
		if ex.replayable && req.hasBody() {
			req.Body.Rewind(mark)
		}
	}
}

// countAttempt counts a request that was sent on c, or as much of it as could be.
func (u *Upstream) countAttempt(c *conn) {
	c.link.endpoint.attempts.Add(1)
	if c.uses > 1 {
		u.reused.Add(1)
	}
}
