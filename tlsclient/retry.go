package tlsclient

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// RetryPolicy allows to send an idempotent request again that may have been seen: after
// one of the statuses, and after a connection ended or PerTry ran out before anything was
// answered. Nothing allows that for another request.
type RetryPolicy struct {
	Attempts int           // in all; 0: what Options.Retry says
	Statuses []int         // final responses that are not wanted
	Methods  []string      // what it is for; nil: every method
	PerTry   time.Duration // from the end of a try's request to the response's head, if there may be another; 0: none
}

// retry is how a request may be sent again.
type retry uint8

const (
	never retry = iota
	free        // this end has brought it about: neither counted nor waited for
	swift       // at once: the connection was at fault
	slow        // after a while
)

const (
	// The while is random, up to backOffMin at first and up to backOffMax after that.
	backOffMin = 25 * time.Millisecond
	backOffMax = 250 * time.Millisecond
	// retryAfterMax is how long an upstream's Retry-After is waited for.
	retryAfterMax = 10 * time.Second
	// backOffTick is how often a client is asked during it whether it is still there.
	backOffTick = 25 * time.Millisecond
)

// retried counts what came of retries.
type retried struct {
	sent                                            atomic.Uint64
	answered, failed, overBudget, noTime, retracted atomic.Uint64
}

func (r *retried) ended(err error) {
	e := asError(err)
	switch {
	case err == nil:
		r.answered.Add(1)
	case e == nil || e.Fault == FaultClient:
		r.retracted.Add(1)
	default:
		r.failed.Add(1)
	}
}

// attempts is how often the request may be sent in all.
func (ex *exchange) attempts() int {
	if ex.policy != nil && ex.policy.Attempts > 0 {
		return ex.policy.Attempts
	}
	return ex.upstream.opt().Retry.Attempts
}

// allowed reports whether the route's policy is for the request.
func (ex *exchange) allowed() bool {
	p := ex.policy
	return p != nil && ex.request.Idempotent &&
		(p.Methods == nil || slices.ContainsFunc(p.Methods, func(m string) bool { return m == string(ex.request.Method) }))
}

// elsewhere tells how the request may go on after no connection could be made to an
// endpoint. Nothing has been written, so any request may.
func (ex *exchange) elsewhere(err error) retry {
	e := asError(err)
	if e == nil || e.Fault != FaultUpstream || isBarred(err) || ex.stopped != nil {
		return never
	}
	if ex.upstream.untried(ex) || e.Class == ConnectFailed && !isRefusal(err) {
		return slow
	}
	return never
}

// isBarred reports whether err says that no endpoint may be used.
func isBarred(err error) bool {
	e := asError(err)
	return e != nil && (e.Class == BreakerOpen || e.Class == NoEndpoint)
}

// passable reports whether any endpoint may be used.
func (u *Upstream) passable() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.admits(time.Now())
}

// untried reports whether there is an endpoint that ex has not tried and may.
func (u *Upstream) untried(ex *exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.ContainsFunc(u.endpoints, func(e *endpoint) bool {
		ok, _ := e.admits(ex.now)
		return ok && !slices.Contains(ex.tried, e)
	})
}

// repeat tells how a request may go on that failed with err on c.
func (ex *exchange) repeat(c *conn, err error) retry {
	e := asError(err)
	unseen := c.sock.Written() == c.writtenBefore
	switch {
	case ex.stopped != nil || ex.answered || !ex.atHand(), e != nil && e.Fault == FaultClient:
		return never
	case ex.request.Continue && !ex.informed && ex.upload.waiting():
		return never // its client sends nothing before it is told to
	case !unseen && (!ex.request.Idempotent || e == nil):
		return never // whatever else may speak for it
	case !ex.repeated && e != nil && (e == c.doomed() || e.Class == ClientCertRejected && c.link.pool.retired.Load()):
		ex.repeated = true
		return free
	case unseen:
		return swift
	case e.Class == UpstreamReset && c.uses > 1:
		if ex.counted == 0 {
			return swift // most likely it was about to be closed for having been idle
		}
		ex.tried = append(ex.tried, c.link.endpoint)
		return slow
	case ex.allowed() && (e.Class == UpstreamReset || e.Class == UpstreamTimeout && ex.overTry()):
		ex.tried = append(ex.tried, c.link.endpoint)
		return slow
	}
	return never
}

// unwanted tells how to go on after a response that may be one not to pass on.
func (ex *exchange) unwanted(r *Response) (how retry, after time.Duration) {
	if !slices.Contains(ex.policy.Statuses, r.Status) || !ex.allowed() || ex.informed || !r.sentWhole() || !ex.atHand() {
		return never, 0
	}
	after, ok := retryAfter(r.Fields, time.Now())
	if !ok {
		ex.upstream.retried.noTime.Add(1)
		return never, 0
	}
	if !ex.upstream.passable() {
		return never, 0 // this response says more than that
	}
	ex.tried = append(ex.tried, r.conn.link.endpoint)
	return slow, after
}

// retryAfter is how long the upstream wants to be left alone, RFC 9110 10.2.3. It is not
// ok if that is too long to wait.
func retryAfter(fields []http1.Field, now time.Time) (wait time.Duration, ok bool) {
	for i := range fields {
		if !http1.EqualFold(fields[i].Name, "retry-after") {
			continue
		}
		value := string(fields[i].Value)
		seconds, err := strconv.ParseUint(value, 10, 32) // more than fit are the most that do
		if err == nil || errors.Is(err, strconv.ErrRange) {
			wait = max(wait, time.Duration(seconds)*time.Second)
		} else if date, err := http.ParseTime(value); err == nil {
			wait = max(wait, date.Sub(now))
		}
	}
	return wait, wait <= retryAfterMax
}

// again reports whether there may be another attempt after one that came to r and err,
// and waits for its time. If there may, and if a wait was ended, nothing is left of r.
func (ex *exchange) again(r *Response, err error) bool {
	var how retry
	var after time.Duration
	switch {
	case err == nil:
		how, after = ex.unwanted(r)
	case r.conn == nil:
		how = ex.elsewhere(err)
	default:
		how = ex.repeat(r.conn, err)
	}
	if how == never {
		return false
	}
	wait, ok := ex.grant(how, after)
	if !ok {
		return false
	}
	if ok = ex.collect(r); ok {
		r.discard(err)
		ok = wait == 0 || ex.sleep(wait)
	}
	if !ok {
		ex.decline(how)
		return false
	}
	ex.retries++
	ex.upstream.retried.sent.Add(1)
	ex.now = time.Now()
	return true
}

// grant reports whether there may be another attempt, and after how long.
func (ex *exchange) grant(how retry, after time.Duration) (wait time.Duration, ok bool) {
	if how == free {
		return 0, true
	}
	if ex.counted+1 >= ex.attempts() {
		return 0, false
	}
	if how == slow {
		span := min(backOffMin<<min(ex.counted, 8), backOffMax)
		wait = max(after, rand.N(span)) //nolint:gosec // it keeps no secret
	}
	u := ex.upstream
	now := time.Now()
	if !ex.deadline.IsZero() && !now.Add(wait).Before(ex.deadline) {
		u.retried.noTime.Add(1)
		return 0, false
	}
	at := u.second(now)
	u.mu.Lock()
	ok = u.budget.withdraw(&u.opt().Retry, at)
	u.mu.Unlock()
	if !ok {
		u.retried.overBudget.Add(1)
		return 0, false
	}
	ex.counted++
	ex.paid = at
	return wait, true
}

// decline gives back what grant took for an attempt that is not made.
func (ex *exchange) decline(how retry) {
	if how == free {
		return
	}
	ex.counted--
	u := ex.upstream
	u.mu.Lock()
	u.budget.deposit(ex.paid)
	u.mu.Unlock()
}

// sleep waits, and reports whether it still makes sense to go on.
func (ex *exchange) sleep(wait time.Duration) bool {
	over := time.NewTimer(wait)
	defer over.Stop()
	tick := time.NewTicker(backOffTick)
	defer tick.Stop()
	for ex.tick() == nil {
		select {
		case <-over.C:
			return ex.tick() == nil
		case <-tick.C:
		}
	}
	return false
}

// why is the error of an exchange whose last attempt came to err: our own side may have
// ended it since.
func (ex *exchange) why(err error) error {
	if ex.stopped != nil {
		return ex.stopped
	}
	if up := ex.upload; up != nil {
		if cause := up.clientError(); cause != nil {
			return cause
		}
	}
	return err
}
