package service

import (
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// outages are endpoints as they were looked at last, by the names of their upstream and
// their own.
type outages map[[2]string]*outage

// outage is what was told of an endpoint.
type outage struct {
	client *tlsclient.Upstream // a reload may replace it, and its counters with it
	opened uint64              // times that the breaker had
	during uint64              // of those, since the endpoint is out
	since  time.Time           // when the endpoint was found to be out; zero: it is not
	told   map[string]bool     // in which states, since then
}

// lookAtUpstreams makes events of endpoints that are out since the last look, and of those
// that are back.
func (s *Service) lookAtUpstreams(before outages) outages {
	now, seen := time.Now(), make(outages)
	for name, u := range s.world.Load().upstreams {
		for _, e := range u.client.State().Endpoints {
			key := [2]string{name, e.Address}
			o := before[key]
			if o == nil || o.client != u.client {
				o = &outage{client: u.client}
			}
			seen[key] = o
			s.lookAtEndpoint(o, name, &e, now)
		}
	}
	return seen
}

func (s *Service) lookAtEndpoint(o *outage, upstream string, e *tlsclient.EndpointState, now time.Time) {
	state, why := standing(e, now)
	openings := e.Opened - o.opened
	o.opened = e.Opened
	o.during += openings
	switch {
	case state == api.EndpointDrained: // of which there is an event; what it was before may be so after
	case !api.Usable(state):
		s.tellDown(o, upstream, e, state, why, now)
	case openings > 0: // since the last look, and it is closed again
		last, _ := lastError(e)
		s.tellDown(o, upstream, e, api.EndpointShunned, last, now)
		s.tellUp(o, upstream, e, now)
	case !o.since.IsZero():
		s.tellUp(o, upstream, e, now)
	}
}

// tellDown tells of an endpoint that is out, once for each state.
func (s *Service) tellDown(o *outage, upstream string, e *tlsclient.EndpointState, state, why string, now time.Time) {
	if o.since.IsZero() {
		o.since, o.told = now, make(map[string]bool)
		if at := e.LastTime; now.Sub(at) < 2*lookEvery {
			o.since = at
		}
	}
	kind := state
	if kind == api.EndpointHalfOpen {
		kind = api.EndpointShunned
	}
	if o.told[kind] {
		return
	}
	o.told[kind] = true
	attrs := []any{"event", journal.UpstreamDown, "upstream", upstream, "endpoint", e.Address, "state", state, "error", why}
	if e.Breaker == tlsclient.Open {
		attrs = append(attrs, "for", e.Until.Sub(now).Round(10*time.Millisecond))
	}
	s.Log.Warn("an endpoint fails", attrs...)
}

// tellUp tells of one that is back.
func (s *Service) tellUp(o *outage, upstream string, e *tlsclient.EndpointState, now time.Time) {
	attrs := []any{"event", journal.UpstreamUp, "upstream", upstream, "endpoint", e.Address, "after", now.Sub(o.since).Round(10 * time.Millisecond)}
	if o.during > 0 {
		attrs = append(attrs, "breaker_opened", o.during)
	}
	s.Log.Info("an endpoint is back", attrs...)
	o.since, o.told, o.during = time.Time{}, nil, 0
}
