package service

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// watched is an endpoint that is looked at, and the events of it.
type watched struct {
	service Service
	outage  outage
	state   tlsclient.EndpointState
	now     time.Time
	events  strings.Builder
}

func newWatched() *watched {
	w := &watched{now: time.Now()}
	w.state = tlsclient.EndpointState{Address: "e:1", IPs: []netip.Addr{netip.IPv6Loopback()}, Breaker: tlsclient.Closed, Share: 1, Attempts: 1}
	w.service.Log = slog.New(slog.NewTextHandler(&w.events, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	return w
}

// look changes the endpoint, and returns the events of a look at it a second later.
func (w *watched) look(change func(*tlsclient.EndpointState)) string {
	change(&w.state)
	w.now = w.now.Add(time.Second)
	w.events.Reset()
	w.service.lookAtEndpoint(&w.outage, "u", &w.state, w.now)
	return w.events.String()
}

// fail makes an error what the endpoint has failed with last.
func (w *watched) fail(text string) {
	w.state.LastError, w.state.LastTime = &tlsclient.Error{Class: tlsclient.UpstreamReset, Err: errors.New(text)}, w.now
}

func (w *watched) want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func nothing(*tlsclient.EndpointState) {}

func TestABreakerThatOpensAndClosesHasAnEventOfEach(t *testing.T) {
	w := newWatched()
	w.want(t, w.look(nothing), "")
	got := w.look(func(s *tlsclient.EndpointState) {
		w.fail("a")
		s.Breaker, s.Opened, s.ConsecutiveFailures, s.Until = tlsclient.Open, 1, 5, w.now.Add(13*time.Second)
	})
	w.want(t, got, `msg="an endpoint fails" event=upstream_down upstream=u endpoint=e:1 state=shunned error="upstream_reset: a; 5 failures in a row" for=12s`+"\n")
	w.want(t, w.look(func(s *tlsclient.EndpointState) { s.Breaker = tlsclient.HalfOpen }), "")
	w.want(t, w.look(func(s *tlsclient.EndpointState) { s.Breaker, s.Opened = tlsclient.Open, 2 }), "")
	got = w.look(func(s *tlsclient.EndpointState) { s.Breaker, s.Share = tlsclient.Closed, .1 })
	w.want(t, got, `msg="an endpoint is back" event=upstream_up upstream=u endpoint=e:1 after=4s breaker_opened=2`+"\n")
	w.want(t, w.look(func(s *tlsclient.EndpointState) { s.Share = 1 }), "")
}

func TestABreakerThatOpensBetweenTwoLooksHasEvents(t *testing.T) {
	w := newWatched()
	w.look(nothing)
	got := w.look(func(s *tlsclient.EndpointState) { w.fail("a"); s.Opened = 3 })
	w.want(t, got, `msg="an endpoint fails" event=upstream_down upstream=u endpoint=e:1 state=shunned error="upstream_reset: a"`+"\n"+
		`msg="an endpoint is back" event=upstream_up upstream=u endpoint=e:1 after=1s breaker_opened=3`+"\n")
	w.want(t, w.look(nothing), "")
}

func TestEachReasonForWhichAnEndpointIsOutIsToldOnce(t *testing.T) {
	w := newWatched()
	var got []string
	ill := func(s *tlsclient.EndpointState) {
		s.Health = tlsclient.HealthState{Checked: true, Ill: true, Last: errors.New("b")}
	}
	well := func(s *tlsclient.EndpointState) { s.Health = tlsclient.HealthState{} }
	down := func(s *tlsclient.EndpointState) { w.fail("a"); s.Down = true }
	for _, change := range []func(*tlsclient.EndpointState){down, ill, well, ill, well, func(s *tlsclient.EndpointState) { s.Down = false }, down} {
		for line := range strings.Lines(w.look(change)) {
			_, rest, _ := strings.Cut(line, "endpoint=e:1 ")
			got = append(got, strings.TrimSpace(rest))
		}
	}
	w.want(t, strings.Join(got, "\n"), `state=down error="upstream_reset: a"
state=ill error="it fails its health checks; the last: b"
after=6s
state=down error="upstream_reset: a"`)
}

func TestAnEndpointThatIsDrainedWhileItIsOutIsNotBack(t *testing.T) {
	w := newWatched()
	w.look(func(s *tlsclient.EndpointState) { w.fail("a"); s.Down = true })
	w.want(t, w.look(func(s *tlsclient.EndpointState) { s.Drained, s.Down = true, false }), "")
	w.want(t, w.look(func(s *tlsclient.EndpointState) { s.Drained = false }), `msg="an endpoint is back" event=upstream_up upstream=u endpoint=e:1 after=3s`+"\n")
}
