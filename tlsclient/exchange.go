package tlsclient

import (
	"context"
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// exchange is what belongs to one Do over all its attempts.
type exchange struct {
	upstream *Upstream
	request  *Request
	policy   *RetryPolicy  // the request's; nil: none
	now      time.Time     // when the present attempt began
	begun    bool          // an endpoint was turned to
	total    time.Duration // of all attempts together; 0: any
	deadline time.Time     // the end of it; zero: none
	tryEnd   time.Time     // when the present attempt must have been answered; zero: none

	check bool            // it is a health check
	ctx   context.Context // that ends one; nil: an exchange is ended by its client
	pass  pass            // to the endpoint that a connection is made to
	tried []*endpoint     // in vain

	buffered bool        // the whole body is in the client's buffer, from mark on
	mark     http1.State // where it begins
	replay   replay      // a copy of it, if it is not

	entered  bool    // the budget knows of it
	retries  int     // attempts after the first
	counted  int     // of those, the ones that are bounded
	paid     int64   // the second whose budget the last of them was taken from
	repeated bool    // for what this end did
	answered bool    // bytes of a response have come in
	informed bool    // the client was given an informational one
	stopped  error   // why the client's side ended it
	upload   *upload // what is still being sent of the request; nil if it went out at once
	due      bool    // the wait for a head is bounded, or over

	queue, connect time.Duration // spent waiting for a connection and making one
}

func (ex *exchange) start(u *Upstream, req *Request) {
	ex.replay.free()
	*ex = exchange{upstream: u, request: req, policy: req.Retry, now: time.Now(), tried: ex.tried[:0]}
	if ex.total = u.opt().TotalTimeout; ex.total > 0 {
		begun := req.Begun
		if begun.IsZero() {
			begun = ex.now
		}
		ex.deadline = begun.Add(ex.total)
	}
}

// open finds out how the request could be sent again.
func (ex *exchange) open() error {
	req := ex.request
	if !req.hasBody() {
		ex.buffered = true
		return nil
	}
	if ex.buffered = req.Body.Complete(); ex.buffered {
		ex.mark = req.Body.Mark()
		return nil
	}
	ex.replay.wanted = req.Idempotent && ex.attempts() > 1 && (req.Framing == http1.Chunked || req.Length <= replaySize)
	o := ex.upstream.opt()
	ex.replay.buffers, ex.replay.memory = o.Buffers, o.Memory
	if err := req.Body.Broken(); err != nil {
		return clientFault(err)
	}
	return nil
}

// atHand reports whether the body can be sent again, or may be once collect has made sure.
func (ex *exchange) atHand() bool { return ex.buffered || ex.replay.wanted && !ex.replay.over.Load() }

// rewind goes back to the beginning of the body.
func (ex *exchange) rewind() {
	if ex.buffered && ex.request.hasBody() {
		ex.request.Body.Rewind(ex.mark)
	}
}

// collect makes sure that the whole body is at hand for another attempt than that of r, and
// waits for the rest of it from the client. Meanwhile nobody waits for that attempt: its
// connection is given back at once.
func (ex *exchange) collect(r *Response) bool {
	up := ex.upload
	switch {
	case up == nil:
		return true // it is in the client's buffer or copied, or nothing of it was read
	case up.finished():
		return ex.replay.whole
	}
	r.leave()
	tick := time.NewTicker(rawconn.TickInterval)
	defer tick.Stop()
	for {
		select {
		case <-up.done:
			if !ex.replay.whole || ex.overdue() != nil {
				return false
			}
			ex.upload = nil
			return true
		case <-tick.C:
			if ex.tick() != nil {
				up.stop()
				return false
			}
		}
	}
}

// tickOn is tick while c is being read. It bounds the wait for the response once
// the request has been sent.
func (ex *exchange) tickOn(c *conn) error {
	if up := ex.upload; up != nil && up.finished() {
		c.settle()
		if !ex.due {
			ex.due = true
			ex.tryEnd = ex.tryUntil()
			c.sock.ReadWithin(ex.headWait())
		}
	}
	if c.pass.probe && ex.upload.waiting() {
		ex.upstream.excuse(c)
	}
	return ex.tick()
}

// headWait is how long the response's head may take once the request has been sent.
func (ex *exchange) headWait() time.Duration { return ex.bound(ex.upstream.opt().HeaderTimeout) }

// bound is wait, or less if the attempt or the exchange ends before. 0 is no bound.
func (ex *exchange) bound(wait time.Duration) time.Duration {
	for _, end := range [...]time.Time{ex.tryEnd, ex.deadline} {
		if end.IsZero() {
			continue
		}
		if left := max(time.Until(end), 1); wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// tryUntil is when the present attempt must have been answered whose request has just
// been sent. If there can be no other, it has all the time there is.
func (ex *exchange) tryUntil() time.Time {
	if ex.policy == nil || ex.policy.PerTry == 0 || !ex.allowed() || !ex.atHand() || ex.counted+1 >= ex.attempts() {
		return time.Time{}
	}
	return time.Now().Add(ex.policy.PerTry)
}

// overTry reports whether the present attempt has had its time.
func (ex *exchange) overTry() bool { return !ex.tryEnd.IsZero() && !time.Now().Before(ex.tryEnd) }

// awaitHead bounds the wait for the next head of a response: from now on, or from
// the end of the request if that is still being sent.
func (ex *exchange) awaitHead(c *conn) {
	ex.due = ex.upload == nil || ex.upload.finished()
	if !ex.due {
		c.sock.ReadWithin(0)
		return
	}
	c.settle()
	if ex.tryEnd.IsZero() {
		ex.tryEnd = ex.tryUntil()
	}
	c.sock.ReadWithin(ex.headWait())
}

// tick is asked while the exchange waits for something of the upstream's.
func (ex *exchange) tick() error {
	if ex.stopped == nil {
		ex.stopped = ex.request.Client.Abandoned()
	}
	return ex.overdue()
}

// overdue is tick without asking the client. Without a bound of the exchange's time it
// costs nothing.
func (ex *exchange) overdue() error {
	if ex.stopped != nil || ex.deadline.IsZero() || time.Now().Before(ex.deadline) {
		return ex.stopped
	}
	e := &Error{Class: UpstreamTimeout, Fault: FaultUpstream, Err: fmt.Errorf("the exchange took longer than %v in all", ex.total)}
	if !ex.begun {
		e.Fault, e.Err = FaultSelf, fmt.Errorf("the exchange waited on this side for all of the %v that it may take, and was not sent", ex.total)
	}
	ex.stopped = e
	return e
}

// turn notes that the present attempt turns to an endpoint at now.
func (ex *exchange) turn(now time.Time) { ex.now, ex.begun = now, true }

// hadItsTime reports whether the present attempt had nearly the time of a whole exchange.
// If not, the time may have gone to a queue, to the client or to an earlier attempt, and
// that it was over says nothing of the endpoint.
func (ex *exchange) hadItsTime() bool { return time.Since(ex.now) >= ex.total-ex.total/10 }

// ended reports whether it is over, and not only what it does at the moment.
func (ex *exchange) ended() bool {
	return ex.stopped != nil || !ex.deadline.IsZero() && ex.tick() != nil
}

// within is the earlier of t and the end of the exchange.
func (ex *exchange) within(t time.Time) time.Time {
	if ex.deadline.IsZero() {
		return t
	}
	return earlier(t, ex.deadline)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// context is what dials end with.
func (ex *exchange) context() context.Context {
	if ex.ctx == nil {
		return context.Background()
	}
	return ex.ctx
}

// onEnd calls f when a health check is ended, until the function that is returned is
// called.
func (ex *exchange) onEnd(f func()) (stop func()) {
	if ex.ctx == nil {
		return func() {}
	}
	cancel := context.AfterFunc(ex.ctx, f)
	return func() { cancel() }
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
