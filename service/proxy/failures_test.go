package proxy

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

func TestFailuresLeftOutAreCountedUntilTheNextIsLogged(t *testing.T) {
	t.Parallel()
	s := newSampler()
	now := time.Now()
	for i := range 10 {
		if leftOut, ok := s.take(now); !ok || leftOut != 0 {
			t.Errorf("failure %d: logged %v, left out %d", i, ok, leftOut)
		}
	}
	for range 7 {
		if _, ok := s.take(now); ok {
			t.Error("more than ten were logged at once")
		}
	}
	now = now.Add(time.Second)
	if leftOut, ok := s.take(now); !ok || leftOut != 7 {
		t.Errorf("a second later: logged %v, left out %d, want 7", ok, leftOut)
	}
	now = now.Add(time.Second)
	if leftOut, ok := s.take(now); !ok || leftOut != 0 {
		t.Errorf("two seconds later: logged %v, left out %d, want none", ok, leftOut)
	}
}

func TestOverloadedNamesTheLimit(t *testing.T) {
	t.Parallel()
	dial := func(err error) *failure {
		return diagnose(&tlsclient.Error{Class: tlsclient.Overloaded, Err: fmt.Errorf("dial: %w", err)})
	}
	for want, f := range map[string]*failure{
		"limit.per_caller":                        notAdmitted(limiter.Caller),
		"limit.in_flight":                         notAdmitted(limiter.Full),
		"limit.in_flight and limit.queue":         notAdmitted(limiter.QueueFull),
		"limit.in_flight and limit.queue_timeout": notAdmitted(limiter.Timeout),
		"limits.connections, or what LimitNOFILE and GOMEMLIMIT leave of it": crowded(front.ErrFull),
		"limits.connections_per_caller":                                      crowded(front.ErrCallerFull),
		"limits.memory":                                                      crowded(front.ErrMemory),
		"LimitNOFILE":                                                        dial(syscall.EMFILE),
		"pool.max":                                                           dial(errors.New("all connections stayed busy")),
		"":                                                                   diagnose(&tlsclient.Error{Class: tlsclient.UpstreamReset, Err: syscall.EMFILE}),
	} {
		if got := limitOf(f); got != want {
			t.Errorf("%v: %q, want %q", f.cause, got, want)
		}
	}
}

func TestWhatThisHostCannotDoIsNotHeldAgainstTheUpstream(t *testing.T) {
	t.Parallel()
	f := func(class tlsclient.Class, err error, status int, hint string) {
		t.Helper()
		got := diagnose(&tlsclient.Error{Class: class, Fault: tlsclient.FaultSelf, Err: err})
		if got.status != status || got.hint != hint {
			t.Errorf("got %d, %q; want %d, %q", got.status, got.hint, status, hint)
		}
	}
	f(tlsclient.ConnectFailed, syscall.EADDRNOTAVAIL, 502, "this host could not make a connection: cannot assign requested address; see source and LimitNOFILE")
	f(tlsclient.ConnectFailed, errors.New("mismatched local address type"), 502, "this host could not make a connection: the daemon's log says why; see source and LimitNOFILE")
	f(tlsclient.Overloaded, syscall.EMFILE, 503, "this host has no descriptor left for a connection to the upstream; see LimitNOFILE")
}
