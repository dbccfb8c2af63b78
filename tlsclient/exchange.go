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
	policy   *RetryPolicy // the request's; nil: none
	now      time.Time    // when it began, or began again
	deadline time.Time    // of all attempts together; zero: none
	tryEnd   time.Time    // when the present attempt must have been answered; zero: none

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
	if total := u.opt().TotalTimeout; total > 0 {
		begun := req.Begun
		if begun.IsZero() {
			begun = ex.now
		}
		ex.deadline = begun.Add(total)
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

// collect makes sure that the whole body is at hand for another attempt, and waits for the
// rest of it from the client.
func (ex *exchange) collect() bool {
	up := ex.upload
	if up == nil {
		return true // it is in the client's buffer or copied, or nothing of it was read
	}
	if !up.finished() {
		up.conn.cut() // what it still writes is of no use
	}
	tick := time.NewTicker(rawconn.TickInterval)
	defer tick.Stop()
	for {
		select {
		case <-up.done:
			return ex.replay.whole
		case <-tick.C:
			if ex.tick() != nil {
				return false
			}
		}
	}
}

// tickOn is tick while c is being read. It bounds the wait for the response once
// the request has been sent.
func (ex *exchange) tickOn(c *conn) error {
	if up := ex.upload; up != nil && !ex.due && up.finished() {
		ex.due = true
		c.sock.ReadWithin(ex.headWait())
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

// tryUntil is when an attempt that begins now must have been answered.
func (ex *exchange) tryUntil() time.Time {
	if ex.policy == nil || ex.policy.PerTry == 0 {
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
	switch {
	case ex.due:
		c.sock.ReadWithin(ex.headWait())
	case ex.tryEnd.IsZero():
		c.sock.ReadWithin(0)
	default:
		c.sock.ReadWithin(max(time.Until(ex.tryEnd), 1))
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
