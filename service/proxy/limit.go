package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Limit bounds what a route takes. What has a state is the same in all tables that have
// the route.
type Limit struct {
	Rate   *limiter.Rate // nil: no bound
	Per    Per           // what has a bucket of its own
	Header string        // of PerHeader
	Policy []byte        // the value of RateLimit-Policy

	Gate         *limiter.Gate // nil: no bound
	QueueTimeout time.Duration

	Body     int64          // bytes of a request's body; 0: no bound
	TooLarge *atomic.Uint64 // counts those above it
}

// Per is what has a token bucket of its own.
type Per uint8

// What may have one.
const (
	PerRoute Per = iota
	PerCaller
	PerListener
	PerHeader // each value of a header field; requests without it have one together
)

// admit waits until the exchange may go on. The error is a *failure, or why nobody waits
// for the answer any more.
func (e *exchange) admit(r *Route) error {
	l := &r.Limit
	if l.Body > 0 {
		if err := e.fits(l); err != nil {
			return err
		}
	}
	if l.Rate != nil {
		if v := l.Rate.Take(e.rateKey(l), e.begun); !v.OK {
			return e.overRate(r, v)
		}
	}
	if req := &e.x.Request; req.Framing == http1.ByLength && !req.Continue {
		if err := e.gather(r); err != nil {
			return err
		}
	}
	if l.Gate == nil {
		return nil
	}
	err := e.enter(r)
	if err != nil && l.Rate != nil { // it comes back later, and is not to pay twice
		l.Rate.Return(e.rateKey(l), time.Now())
	}
	return err
}

// enter waits for a place in the route's gate.
func (e *exchange) enter(r *Route) error {
	ticket, waiter, err := r.Limit.Gate.Enter(uint64(e.x.Caller()))
	if waiter != nil {
		ticket, err = e.queue(waiter, e.patience(r))
	}
	e.ticket = ticket
	if why, ok := errors.AsType[limiter.Rejection](err); ok {
		return notAdmitted(why)
	}
	return err
}

// gather waits for a small body before anything is taken that others may want.
func (e *exchange) gather(r *Route) error {
	var until time.Time
	if total := r.Upstream.Options().TotalTimeout; total > 0 {
		until = e.begun.Add(total)
	}
	err := e.x.GatherBody(until)
	if err == nil || errors.Is(err, front.ErrGone) || errors.Is(err, front.ErrCancelled) {
		return err
	}
	return &tlsclient.Error{Class: tlsclient.ClientGone, Fault: tlsclient.FaultClient, Err: fmt.Errorf("reading the request's body: %w", err)}
}

// patience is how long the exchange may wait for a place: not beyond its own end.
func (e *exchange) patience(r *Route) time.Duration {
	most := r.Limit.QueueTimeout
	if total := r.Upstream.Options().TotalTimeout; total > 0 {
		most = min(most, max(total-time.Since(e.begun), 0))
	}
	return most
}

// fits refuses a body that is known to be too large, before any of it is read, and has
// others cut where they become so.
func (e *exchange) fits(l *Limit) error {
	req := &e.x.Request
	e.x.Body.Max = l.Body
	if req.Framing == http1.ByLength && req.Length > l.Body {
		return bodyTooLarge(http1.ErrBodyTooLarge)
	}
	return nil
}

func bodyTooLarge(cause error) *failure {
	return &failure{status: http.StatusRequestEntityTooLarge, class: tooLarge, fault: tlsclient.FaultClient,
		hint: "the request's body is larger than limit.body of the route", cause: cause}
}

// countTooLarge counts the exchange for the limit if its body was too large.
func (e *exchange) countTooLarge() {
	if e.class == tooLarge && e.taken != nil && e.taken.Limit.TooLarge != nil {
		e.taken.Limit.TooLarge.Add(1)
	}
}

// rateKey is what the exchange takes its token by.
func (e *exchange) rateKey(l *Limit) []byte {
	switch l.Per {
	case PerCaller:
		return binary.LittleEndian.AppendUint64(e.scratch(), uint64(e.x.Caller()))
	case PerListener:
		return append(e.scratch(), e.listener...)
	case PerHeader:
		fields := e.x.Request.Fields
		for i := range fields {
			if f := &fields[i]; len(f.Name) == len(l.Header) && bytes.EqualFold(f.Name, []byte(l.Header)) {
				return f.Value
			}
		}
	case PerRoute:
	}
	return nil
}

func (e *exchange) overRate(r *Route, v limiter.Verdict) *failure {
	return &failure{
		status: http.StatusTooManyRequests, class: rateLimited, fault: tlsclient.FaultClient,
		hint: "more requests than limit.rate of the route allows; Retry-After says when there is room", cause: limiter.RateExceeded,
		retry: v.RetryAfter(),
		fields: []http1.Field{
			{Name: []byte("RateLimit-Policy"), Value: r.Limit.Policy},
			{Name: []byte("RateLimit"), Value: v.AppendLimit(nil, r.Name)},
		},
	}
}

// queue waits for a place, and looks up from time to time whether anybody waits for the
// answer.
func (e *exchange) queue(w *limiter.Waiter, most time.Duration) (limiter.Ticket, error) {
	begun := time.Now()
	limit := time.NewTimer(most)
	defer limit.Stop()
	tick := time.NewTicker(rawconn.TickInterval)
	defer tick.Stop()
	ticket, err := w.Wait(limit.C, tick.C, e.x.Abandoned)
	e.queued = time.Since(begun)
	if err == nil {
		if err = e.x.Abandoned(); err != nil { // since the last look
			ticket.Leave()
		}
	}
	return ticket, err
}

// notAdmitted is the answer to an exchange for which a route has no place.
func notAdmitted(why limiter.Rejection) *failure {
	f := &failure{status: http.StatusServiceUnavailable, class: tlsclient.Overloaded, fault: tlsclient.FaultSelf, cause: why}
	switch why {
	case limiter.Caller:
		f.fault, f.hint = tlsclient.FaultClient, "the caller has as many exchanges under way as limit.per_caller of the route allows; try again"
	case limiter.QueueFull:
		f.hint = "limit.in_flight of the route is reached, and so is limit.queue; try again"
	case limiter.Timeout:
		f.hint = "limit.in_flight of the route is reached, and no exchange has ended in limit.queue_timeout; try again"
	default:
		f.hint = "limit.in_flight of the route is reached; try again"
	}
	return f
}

// crowded is the failure of an exchange that the front has no room for.
func crowded(why error) *failure {
	f := &failure{status: http.StatusServiceUnavailable, class: tlsclient.Overloaded, fault: tlsclient.FaultSelf, hint: why.Error() + "; try again", cause: why}
	if errors.Is(why, front.ErrCallerFull) {
		f.fault = tlsclient.FaultClient
	}
	return f
}
