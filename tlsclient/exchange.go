package tlsclient

import (
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// exchange is what belongs to one Do over all its attempts.
type exchange struct {
	upstream   *Upstream
	request    *Request
	now        time.Time // when it began, or began again
	deadline   time.Time // of all attempts together; zero: none
	tried      []*endpoint
	replayable bool
	repeated   bool
	answered   bool    // bytes of a response have come in
	stopped    error   // why the client's side ended it
	upload     *upload // what is still being sent of the request; nil if it went out at once
	due        bool    // the wait for a head is bounded, or over

	queue, connect time.Duration // spent waiting for a connection and making one
}

func (ex *exchange) start(u *Upstream, req *Request) {
	*ex = exchange{upstream: u, request: req, now: req.Begun, tried: ex.tried[:0]}
	if ex.now.IsZero() {
		ex.now = time.Now()
	}
	if u.opt().TotalTimeout > 0 {
		ex.deadline = ex.now.Add(u.opt().TotalTimeout)
	}
}

// next reports whether another endpoint should be tried after no connection
// could be made to one. Nothing has been written, so any request may go on.
func (ex *exchange) next(err error) bool {
	e := asError(err)
	if e == nil || e.Fault != FaultUpstream || ex.stopped != nil {
		return false
	}
	return len(ex.tried) < maxAttempts && ex.upstream.untried(ex)
}

// mayRepeat reports whether a request that failed with err on c can be sent once
// more.
func (ex *exchange) mayRepeat(c *conn, err error) bool {
	if ex.stopped != nil || ex.answered || ex.repeated || !ex.replayable {
		return false
	}
	e := asError(err)
	if e != nil && e.Fault == FaultClient {
		return false
	}
	if c.sock.Written() > c.writtenBefore && !(ex.request.Idempotent && c.died(e)) {
		return false
	}
	ex.repeated = true
	ex.now = time.Now()
	return true
}

// died reports whether what e says of c, which gave no answer, is nothing that another
// connection would meet with too: it had been closed while it was idle, we have cut it,
// or its certificate was refused and there is another one by now.
func (c *conn) died(e *Error) bool {
	switch {
	case e == nil:
		return false
	case e == c.doomed():
		return true
	case e.Class == ClientCertRejected:
		return c.link.pool.retired.Load()
	}
	return e.Class == UpstreamReset && c.uses > 1
}

// tickOn is tick while c is being read. It bounds the wait for the response once
// the request has been sent.
func (ex *exchange) tickOn(c *conn) error {
	if up := ex.upload; up != nil && !ex.due && up.finished() {
		ex.due = true
		c.sock.ReadWithin(ex.upstream.opt().HeaderTimeout)
	}
	return ex.tick()
}

// awaitHead bounds the wait for the next head of a response: from now on, or from
// the end of the request if that is still being sent.
func (ex *exchange) awaitHead(c *conn) {
	ex.due = ex.upload == nil || ex.upload.finished()
	if ex.due {
		c.sock.ReadWithin(ex.upstream.opt().HeaderTimeout)
	} else {
		c.sock.ReadWithin(0)
	}
}

// tick is asked while the exchange waits for something of the upstream's.
func (ex *exchange) tick() error {
	if ex.stopped == nil {
		ex.stopped = ex.request.Client.Abandoned()
	}
	if ex.stopped == nil && !ex.deadline.IsZero() && !time.Now().Before(ex.deadline) {
		ex.stopped = &Error{Class: UpstreamTimeout, Fault: FaultUpstream,
			Err: fmt.Errorf("the exchange took longer than %v in all", ex.upstream.opt().TotalTimeout)}
	}
	return ex.stopped
}

// watch asks tick while a dial blocks, and calls cancel when it says to stop.
// The returned function ends the watch and waits for it.
func (ex *exchange) watch(cancel func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(rawconn.TickInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if ex.tick() != nil {
					cancel()
					return
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
