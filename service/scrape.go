package service

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// scrape is the daemon as it was at one moment, for metrics.
type scrape struct {
	version       string
	world         *world
	phase         Phase
	health        api.Health
	history       outcomes
	events        journal.EventCounts
	limits        []api.Limit
	eventsDropped uint64
	log           api.LogStats
	listeners     []listenerScrape
	routes        []routeScrape
	traffic       map[string]trafficScrape // by route
	upstreams     []upstreamScrape
	identities    []identityScrape
}

type listenerScrape struct {
	name     string
	open     int
	accepted uint64
}

type routeScrape struct {
	name, upstream string
	counts         proxy.Counts
}

type trafficScrape struct{ in, out, inFlight float64 }

type upstreamScrape struct {
	name      string
	max       int
	state     tlsclient.State
	endpoints []endpointScrape
}

type endpointScrape struct {
	state tlsclient.EndpointState
	up    bool
}

func (s *Service) scrape() *scrape {
	b := backend{s}
	w := s.world.Load()
	out := &scrape{
		version: s.Version, world: w, phase: s.phase.present(), health: b.Health(), history: s.history.get(),
		events: s.Events.Counts(), limits: b.Limits(), log: b.LogStats(), traffic: make(map[string]trafficScrape),
	}
	if s.Dropped != nil {
		out.eventsDropped = s.Dropped()
	}
	for _, l := range w.listeners {
		out.addListener(l.listener, s.meters.acceptedBefore(l.name))
	}
	for i := range w.config.Routes {
		r := &w.config.Routes[i]
		out.addRoute(r.Name, r.Upstream, s.meters.counts(r.Name, r.Upstream))
	}
	out.addRoute(noRoute, noRoute, s.meters.unrouted.Counts())
	now := time.Now()
	for i := range w.config.Upstreams {
		out.addUpstream(w.upstreams[w.config.Upstreams[i].Name], now)
	}
	showing := s.showing(w)
	for _, c := range w.config.Identities {
		out.addIdentity(w.identities[c.Name], showing[c.Name])
	}
	return out
}

// addListener adds up the addresses of one listener.
func (s *scrape) addListener(l *listener, before uint64) {
	i := slices.IndexFunc(s.listeners, func(have listenerScrape) bool { return have.name == l.Name() })
	if i < 0 {
		s.listeners = append(s.listeners, listenerScrape{name: l.Name(), accepted: before})
		i = len(s.listeners) - 1
	}
	s.listeners[i].open += l.Open()
	s.listeners[i].accepted += l.Accepted()
}

func (s *scrape) addRoute(name, upstream string, c proxy.Counts) {
	s.routes = append(s.routes, routeScrape{name, upstream, c})
	s.traffic[name] = trafficScrape{float64(c.BytesIn), float64(c.BytesOut), float64(c.InFlight)}
}

func (s *scrape) addUpstream(u *upstream, now time.Time) {
	us := upstreamScrape{name: u.config.Name, max: u.config.Pool.Max, state: u.client.State()}
	for _, e := range us.state.Endpoints {
		state, _ := standing(&e, now)
		us.endpoints = append(us.endpoints, endpointScrape{e, api.Usable(state) && len(e.IPs) > 0})
	}
	s.upstreams = append(s.upstreams, us)
}

func sortedFailures(errors map[proxy.Failure]uint64) []proxy.Failure {
	var all []proxy.Failure
	for f := range errors {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b proxy.Failure) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Fault, b.Fault))
	})
	return all
}

// epoch is t in seconds since 1970. Nanoseconds since 1970 end with the year 2262, certificates
// without an end with 9999 (RFC 5280 4.1.2.5).
func epoch(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }

func levels() []slog.Level {
	return []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
}
