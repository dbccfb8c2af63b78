package tlsclient

import (
	"errors"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Do sends req and returns once the head of the final response is in resp, which
// must be closed after an error too. The error is an *Error, or what the
// request's Client returned.
//
// A request is sent again only if it cannot have been seen, because nothing was written;
// or if it is idempotent, the whole body is still at hand, nothing was answered, and it
// was the connection's fault: it had been used before, or belonged to an older generation
// whose certificate was refused, or this end cut it. Request.Retry allows more. How
// often, Options.Retry says, but for what this end has brought about itself.
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
	if ex.retries > 0 {
		u.retried.ended(err)
	}
	return err
}

// try sends the request until it is answered or must not be sent again.
func (u *Upstream) try(req *Request, resp *Response) error {
	ex := &resp.exchange
	if err := ex.overdue(); err != nil {
		return err // all of its time went before it came here
	}
	if err := ex.open(); err != nil {
		return err // before a connection is spent on it
	}
	var before error // why the attempt before failed
	fresh := false
	for {
		resp.Attempts++
		err := u.attempt(ex, resp, fresh)
		if err == nil && ex.policy == nil {
			return nil
		}
		if errors.Is(err, rawconn.ErrStale) { // nothing was tried
			resp.drop()
			resp.Attempts--
			fresh = false
			ex.rewind()
			continue
		}
		if before != nil && isBarred(err) {
			return before // it says more
		}
		reached := resp.conn != nil
		if !ex.again(resp, err) {
			why := ex.why(err)
			if err != nil {
				resp.drop()
			}
			return why
		}
		before, fresh = err, fresh || reached && err != nil
		ex.answered, resp.FirstByte = false, time.Time{}
		ex.rewind()
	}
}

// attempt sends the request over one connection.
func (u *Upstream) attempt(ex *exchange, resp *Response, fresh bool) error {
	c, err := u.acquire(ex, fresh)
	if err != nil {
		return err
	}
	err = resp.roundTrip(c, ex.request)
	if !errors.Is(err, rawconn.ErrStale) {
		u.countAttempt(c)
	}
	return err
}

// countAttempt counts a request that was sent on c, or as much of it as could be.
func (u *Upstream) countAttempt(c *conn) {
	c.link.endpoint.attempts.Add(1)
	if c.uses > 1 {
		u.reused.Add(1)
	}
}
