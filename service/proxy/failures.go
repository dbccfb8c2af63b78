package proxy

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// sampler picks the failures that are logged, when everything fails: a few at once, then
// one a second. It counts the others.
type sampler struct {
	limiter *rate.Limiter
	leftOut atomic.Uint64
}

func newSampler() *sampler { return &sampler{limiter: rate.NewLimiter(1, 10)} }

// take reports whether to log a failure, and how many were left out before it.
func (s *sampler) take(now time.Time) (leftOut uint64, ok bool) {
	if !s.limiter.AllowN(now, 1) {
		s.leftOut.Add(1)
		return 0, false
	}
	return s.leftOut.Swap(0), true
}

// attributes are those of the event of a failure, if s has it logged.
func (e *exchange) attributes(s *sampler, f *failure) []any {
	leftOut, ok := s.take(time.Now())
	if !ok {
		return nil
	}
	route, upstream := "(none)", "(none)" // as in metrics
	if e.taken != nil {
		route, upstream = e.taken.Name, e.taken.Upstream.Name()
	}
	attrs := []any{
		"id", string(e.id), "class", string(f.class), "fault", f.fault.String(),
		"route", route, "upstream", upstream, "uid", "unknown", "error", f.cause,
	}
	if uid := e.x.Caller(); uid != front.NoCaller {
		attrs[11] = uid
	}
	if limit := limitOf(f); limit != "" {
		attrs = append(attrs, "limit", limit)
	}
	if leftOut > 0 {
		attrs = append(attrs, "suppressed", leftOut)
	}
	return attrs
}

// limitOf is the key of the limit that was reached, for class overloaded.
func limitOf(f *failure) string {
	if f.class != tlsclient.Overloaded {
		return ""
	}
	if why, ok := errors.AsType[limiter.Rejection](f.cause); ok {
		switch why {
		case limiter.Caller:
			return "limit.per_caller"
		case limiter.QueueFull:
			return "limit.in_flight and limit.queue"
		case limiter.Timeout:
			return "limit.in_flight and limit.queue_timeout"
		}
		return "limit.in_flight"
	}
	switch {
	case errors.Is(f.cause, front.ErrFull):
		return "limits.connections, or what LimitNOFILE and GOMEMLIMIT leave of it"
	case errors.Is(f.cause, front.ErrCallerFull):
		return "limits.connections_per_caller"
	case errors.Is(f.cause, front.ErrMemory):
		return "limits.memory"
	case outOfDescriptors(f.cause):
		return "LimitNOFILE"
	}
	return "pool.max"
}

// outOfDescriptors reports whether this host has none left for a connection.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// ownReason is what kept this host from making a connection: the words of a system call's
// error, which say nothing of addresses.
func ownReason(err error) string {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no.Error()
	}
	return "the daemon's log says why"
}
