package service

import (
	"slices"
	"sync"

	"github.com/VictoriaMetrics/metrics"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
)

// noRoute is the route, and the upstream, of exchanges that no route has taken, in
// metrics.
const noRoute = "(none)" // no route can be named so

// meters keeps the meters of routes and upstreams over reloads: counters go on as
// long as the configuration has them.
type meters struct {
	set      *metrics.Set // the histograms
	unrouted *proxy.Meter

	mu      sync.Mutex
	routes  map[routeKey]*proxy.Meter
	dropped []*proxy.Meter    // of routes that are no more, as long as exchanges are under way
	past    totals            // of routes that are no more
	gone    map[string]uint64 // connections accepted on listeners that are no more, by name
}

// totals are counts of the whole daemon.
type totals struct {
	requests, errors uint64
	inFlight         int
}

func (t *totals) add(c proxy.Counts) {
	t.requests, t.errors, t.inFlight = t.requests+c.Requests(), t.errors+c.Failed(), t.inFlight+c.InFlight
}

// routeKey is what the meter of a route is found by: a route that is led to another
// upstream counts from zero.
type routeKey struct{ route, upstream string }

func (m *meters) init() {
	m.set = metrics.NewSet()
	m.routes = make(map[routeKey]*proxy.Meter)
	m.unrouted = &proxy.Meter{Duration: m.histogram(durationName(noRoute))}
}

// seconds are the buckets of all histograms: an upstream on the same host answers
// within the first, and past the last it does not matter any more.
func seconds() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

func (m *meters) histogram(name string) *metrics.PrometheusHistogram {
	return m.set.GetOrCreatePrometheusHistogramExt(name, seconds())
}

func durationName(route string) string {
	return prefix + `request_duration_seconds{route="` + route + `"}`
}

func firstByteName(upstream string) string {
	return prefix + `first_byte_seconds{upstream="` + upstream + `"}`
}

// route returns the meter of a route.
func (m *meters) route(name, upstream string) *proxy.Meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := routeKey{name, upstream}
	if m.routes[key] == nil {
		m.routes[key] = &proxy.Meter{Duration: m.histogram(durationName(name))}
	}
	return m.routes[key]
}

// upstream returns the histogram of the time to the first byte of an upstream.
func (m *meters) upstream(name string) *metrics.PrometheusHistogram {
	return m.histogram(firstByteName(name))
}

// forget drops the meters of what c does not have, so that reloads without end take
// no memory without end.
func (m *meters) forget(c *config.Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := map[string]bool{durationName(noRoute): true}
	routes := make(map[routeKey]*proxy.Meter, len(c.Routes))
	for _, r := range c.Routes {
		key := routeKey{r.Name, r.Upstream}
		routes[key] = m.routes[key]
		delete(m.routes, key)
		keep[durationName(r.Name)], keep[firstByteName(r.Upstream)] = true, true
	}
	for _, meter := range m.routes {
		m.dropped = append(m.dropped, meter)
	}
	m.routes = routes
	for _, name := range m.set.ListMetricNames() {
		if !keep[name] {
			m.set.UnregisterMetric(name)
		}
	}
}

// counts returns what the meter of a route has counted.
func (m *meters) counts(name, upstream string) proxy.Counts {
	m.mu.Lock()
	meter := m.routes[routeKey{name, upstream}]
	m.mu.Unlock()
	if meter == nil {
		return proxy.Counts{}
	}
	return meter.Counts()
}

// totals returns what all routes have carried, those that are no more included.
func (m *meters) totals() totals {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped = slices.DeleteFunc(m.dropped, func(meter *proxy.Meter) bool {
		c := meter.Counts()
		if c.InFlight == 0 {
			m.past.add(c)
		}
		return c.InFlight == 0
	})
	all := m.past
	for _, meter := range m.dropped {
		all.add(meter.Counts())
	}
	for _, meter := range m.routes {
		all.add(meter.Counts())
	}
	all.add(m.unrouted.Counts())
	return all
}

// keepAccepted remembers how many connections came by a listener that goes.
func (m *meters) keepAccepted(l *listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone == nil {
		m.gone = make(map[string]uint64)
	}
	m.gone[l.Name()] += l.Accepted()
}

// acceptedBefore returns how many connections came by listeners of that name that are
// no more.
func (m *meters) acceptedBefore(name string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone[name]
}
