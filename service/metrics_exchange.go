package service

import (
	"maps"
	"slices"
	"strconv"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// codes are the values of the label code, by the first digit of a status.
func codes() [6]string { return [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} }

func exchangeFamilies() []Family {
	return []Family{
		{"requests_total", "counter", "Exchanges that have ended, by the first digit of the status sent to the client; none: nothing was answered.",
			[]string{"route", "upstream", "code"}, func(s *scrape, e emit) {
				for _, r := range s.routes {
					for i, code := range codes() {
						e(float64(r.counts.Codes[i]), r.name, r.upstream, code)
					}
				}
			}},
		{"errors_total", "counter", "Exchanges that the daemon answered itself with an error or cut short, by class and by whose fault it was.",
			[]string{"route", "upstream", "class", "fault"}, func(s *scrape, e emit) {
				for _, r := range s.routes {
					for _, f := range sortedFailures(r.counts.Errors) {
						e(float64(r.counts.Errors[f]), r.name, r.upstream, f.Class, f.Fault)
					}
				}
			}},
		{"request_bytes_total", "counter", "Bytes read from clients, heads and framing included.", []string{"route"}, func(s *scrape, e emit) {
			for _, name := range slices.Sorted(maps.Keys(s.traffic)) {
				e(s.traffic[name].in, name)
			}
		}},
		{"response_bytes_total", "counter", "Bytes written to clients, heads and framing included.", []string{"route"}, func(s *scrape, e emit) {
			for _, name := range slices.Sorted(maps.Keys(s.traffic)) {
				e(s.traffic[name].out, name)
			}
		}},
		{"in_flight", "gauge", "Exchanges under way.", []string{"route"}, func(s *scrape, e emit) {
			for _, name := range slices.Sorted(maps.Keys(s.traffic)) {
				e(s.traffic[name].inFlight, name)
			}
		}},
		{"request_duration_seconds", "histogram", "Time from the end of a request's head to the last byte of its answer; tunnels are left out.", []string{"route"}, nil},
		{"first_byte_seconds", "histogram", "Time from the end of a request's head to the first byte of the upstream's response.", []string{"upstream"}, nil},
		{"connections", "gauge", "Open client connections.", []string{"listener"}, func(s *scrape, e emit) {
			for _, l := range s.listeners {
				e(float64(l.open), l.name)
			}
		}},
		{"connections_accepted_total", "counter", "Client connections that have come in.", []string{"listener"}, func(s *scrape, e emit) {
			for _, l := range s.listeners {
				e(float64(l.accepted), l.name)
			}
		}},
	}
}

// upstreamFamilies are about connections to upstreams.
func upstreamFamilies() []Family {
	byUpstream := []string{"upstream"}
	return []Family{
		{"upstream_connections", "gauge", "Connections to the upstream; busy ones include those being made.", []string{"upstream", "state"}, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.state.Idle), u.name, "idle")
			e(float64(u.state.Open-u.state.Idle), u.name, "busy")
		})},
		{"upstream_connections_max", "gauge", "How many connections to the upstream there may be: pool.max.", byUpstream, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.max), u.name)
		})},
		{"upstream_waiting", "gauge", "Exchanges that wait for a connection to the upstream.", byUpstream, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.state.Waiting), u.name)
		})},
		{"upstream_connections_opened_total", "counter", "Connections made to the upstream.", byUpstream, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.state.Opened), u.name)
		})},
		{"upstream_connections_reused_total", "counter", "Exchanges on a connection that had carried one before.", byUpstream, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.state.Reused), u.name)
		})},
		{"upstream_connections_closed_total", "counter", "Connections closed: idle or age (too long), surplus (not needed), peer (by the server while idle), moved (another address), retired (another certificate), expired (its certificate), drained, unfit (after an exchange), shutdown.", []string{"upstream", "reason"}, eachUpstream(func(u *upstreamScrape, e emit) {
			for _, reason := range slices.Sorted(maps.Keys(u.state.Closed)) {
				e(float64(u.state.Closed[reason]), u.name, reason)
			}
		})},
		{"upstream_handshakes_total", "counter", "TLS handshakes that succeeded, and whether they resumed a session.", []string{"upstream", "resumed"}, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.state.Resumed), u.name, strconv.FormatBool(true))
			e(float64(u.state.Opened-u.state.Resumed), u.name, strconv.FormatBool(false))
		})},
		{"upstream_retries_total", "counter", "Requests sent once more, or tried at another endpoint.", byUpstream, eachUpstream(func(u *upstreamScrape, e emit) {
			e(float64(u.state.Retries), u.name)
		})},
		{"upstream_retried_total", "counter", "Exchanges with retries by what came of them, and retries that were not made: answered, failed, retracted (the client was gone, or wrong); over_budget (there were too many), no_time (to wait for it).", []string{"upstream", "result"}, eachUpstream(func(u *upstreamScrape, e emit) {
			for _, result := range slices.Sorted(maps.Keys(u.state.Retried)) {
				e(float64(u.state.Retried[result]), u.name, result)
			}
		})},
	}
}

// endpointFamilies are about single endpoints.
func endpointFamilies() []Family {
	byEndpoint := []string{"upstream", "endpoint"}
	return []Family{
		{"endpoint_up", "gauge", "Whether the endpoint gets exchanges like any other: 0 if it is drained, fails its health checks, is left alone by its breaker, could not be connected to the last time, or has no address.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return one(p.up) })},
		{"endpoint_drained", "gauge", "Whether the endpoint was drained by hand.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return one(p.state.Drained) })},
		{"endpoint_ill", "gauge", "Whether the endpoint fails its health checks, so that no exchange goes there.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return one(p.state.Health.Ill) })},
		{"breaker_open", "gauge", "Whether the endpoint's breaker is open: no exchange goes there for a while, after failures.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return one(p.state.Breaker == tlsclient.Open) })},
		{"breaker_half_open", "gauge", "Whether the endpoint's breaker lets one exchange, a probe, find out if it has recovered.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return one(p.state.Breaker == tlsclient.HalfOpen) })},
		{"breaker_opened_total", "counter", "Times that the endpoint's breaker has opened.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return float64(p.state.Opened) })},
		{"breaker_probes_total", "counter", "Exchanges that were let through as probes by the endpoint's breaker.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return float64(p.state.Probes) })},
		{"endpoint_pending", "gauge", "Exchanges that use or want a connection to the endpoint.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return float64(p.state.Pending) })},
		{"endpoint_attempts_total", "counter", "Times that the endpoint was tried.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return float64(p.state.Attempts) })},
		{"endpoint_failures_total", "counter", "Times that the endpoint failed by its own fault.", byEndpoint, eachEndpoint(func(p *endpointScrape) float64 { return float64(p.state.Failures) })},
		{"endpoint_checks_total", "counter", "Health checks of the endpoint, by what came of them: good or bad.", []string{"upstream", "endpoint", "result"}, func(s *scrape, e emit) {
			for i := range s.upstreams {
				for _, p := range s.upstreams[i].endpoints {
					e(float64(p.state.Health.Passed), s.upstreams[i].name, p.state.Address, "good")
					e(float64(p.state.Health.Failed), s.upstreams[i].name, p.state.Address, "bad")
				}
			}
		}},
	}
}

func eachUpstream(collect func(*upstreamScrape, emit)) func(*scrape, emit) {
	return func(s *scrape, e emit) {
		for i := range s.upstreams {
			collect(&s.upstreams[i], e)
		}
	}
}

func eachEndpoint(value func(*endpointScrape) float64) func(*scrape, emit) {
	return func(s *scrape, e emit) {
		for i := range s.upstreams {
			u := &s.upstreams[i]
			for j := range u.endpoints {
				p := &u.endpoints[j]
				e(value(p), u.name, p.state.Address)
			}
		}
	}
}
