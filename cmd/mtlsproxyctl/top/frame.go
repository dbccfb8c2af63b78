package top

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/prom"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// Number is a value that may not be known: NaN, or null in JSON.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// Latency is quantiles of a duration, in seconds.
type Latency struct {
	P50 Number `json:"p50_seconds"`
	P95 Number `json:"p95_seconds"`
	P99 Number `json:"p99_seconds"`
}

// Traffic is what went through, per second.
type Traffic struct {
	Requests Number `json:"requests_per_second"`
	Errors   Number `json:"errors_per_second"`     // own error answers, and responses cut short
	Fives    Number `json:"status_5xx_per_second"` // whoever answered so
	In       Number `json:"bytes_in_per_second"`   // from clients
	Out      Number `json:"bytes_out_per_second"`  // to clients
	InFlight Number `json:"in_flight"`
	Latency
}

// Route is the traffic of a route.
type Route struct {
	Name string `json:"name"`
	Traffic
}

// Upstream is what goes on towards an upstream, per second where it is a rate.
type Upstream struct {
	Name       string  `json:"name"`
	Requests   Number  `json:"requests_per_second"`
	Endpoints  int     `json:"endpoints"`
	Up         int     `json:"endpoints_up"` // or not tried yet
	Idle       int     `json:"idle"`
	Busy       int     `json:"busy"`
	Max        int     `json:"max"`
	Waiting    int     `json:"waiting"`
	Handshakes Number  `json:"handshakes_per_second"`
	Retries    Number  `json:"retries_per_second"`
	FirstByte  Latency `json:"first_byte"`
}

// Certificate is how long an identity can be shown.
type Certificate struct {
	Name     string    `json:"name"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Days     Number    `json:"days_left"` // unknown if nothing is loaded
	Error    string    `json:"error,omitempty"`
}

// Frame is what a daemon does just now.
type Frame struct {
	Time         time.Time     `json:"time"`
	Over         Number        `json:"over_seconds"` // the time that the rates are of
	Version      string        `json:"version"`
	Phase        string        `json:"phase"`
	Since        time.Time     `json:"since"`
	Health       api.Health    `json:"health"`
	Connections  int           `json:"connections"`
	CPU          Number        `json:"cpu"` // processors' worth
	Memory       Number        `json:"memory_bytes"`
	Total        Traffic       `json:"total"`
	Routes       []Route       `json:"routes"`
	Upstreams    []Upstream    `json:"upstreams"`
	Certificates []Certificate `json:"certificates"`
	Errors       []api.Record  `json:"last_errors"`
	LogError     string        `json:"log_error,omitempty"`
}

// Compare says what happened between two readings of a daemon. Without an earlier
// one, all that is a rate is unknown.
func Compare(before, now *Reading) *Frame {
	s := &now.Status
	d := delta{to: now.Metrics, seconds: math.NaN()}
	if before != nil && now.Time.After(before.Time) {
		d.from, d.seconds = before.Metrics, now.Time.Sub(before.Time).Seconds()
	}
	f := &Frame{
		Time: now.Time, Over: Number(d.seconds), Version: s.Version.Version, Phase: s.Phase, Since: s.Since, Health: s.Health,
		Connections: s.Connections, CPU: d.rate("process_cpu_seconds_total"), Memory: Number(now.Metrics.Sum("process_resident_memory_bytes")),
		Total: d.traffic(), Routes: []Route{}, Upstreams: []Upstream{}, Certificates: []Certificate{},
		Errors: now.Errors, LogError: now.LogError,
	}
	if f.Errors == nil {
		f.Errors = []api.Record{}
	}
	for _, name := range names(now) {
		f.Routes = append(f.Routes, Route{name, d.traffic("route", name)})
	}
	for i := range s.Upstreams {
		f.Upstreams = append(f.Upstreams, d.upstream(&s.Upstreams[i]))
	}
	for _, id := range s.Identities {
		c := Certificate{Name: id.Name, Subject: id.Subject, NotAfter: id.NotAfter, Days: Number(math.NaN()), Error: id.Error}
		if id.Generation > 0 {
			c.Days = Number(id.NotAfter.Sub(now.Time).Hours() / 24)
		}
		f.Certificates = append(f.Certificates, c)
	}
	return f
}

// names are the routes in the order of the configuration, and then what the metrics
// know beside them: "none", for requests that no route took.
func names(r *Reading) []string {
	var out []string
	for i := range r.Status.Routes {
		out = append(out, r.Status.Routes[i].Name)
	}
	for _, name := range r.Metrics.Values(requests, "route") {
		if !slices.Contains(out, name) && r.Metrics.Sum(requests, "route", name) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// The metrics that are looked at.
const (
	prefix        = "mtlsproxy_"
	requests      = prefix + "requests_total"
	failures      = prefix + "errors_total"
	bytesIn       = prefix + "request_bytes_total"
	bytesOut      = prefix + "response_bytes_total"
	inFlight      = prefix + "in_flight"
	took          = prefix + "request_duration_seconds"
	firstByteTook = prefix + "first_byte_seconds"
	handshakes    = prefix + "upstream_handshakes_total"
	retries       = prefix + "upstream_retries_total"
)

// delta is two samples, and the time between them.
type delta struct {
	from, to prom.Sample
	seconds  float64 // NaN without an earlier sample
}

func (d *delta) rate(metric string, where ...string) Number {
	return Number(prom.Increase(d.from, d.to, metric, where...) / d.seconds)
}

func (d *delta) latency(metric string, where ...string) Latency {
	if math.IsNaN(d.seconds) {
		nan := Number(math.NaN())
		return Latency{nan, nan, nan}
	}
	q := prom.Quantiles(d.from, d.to, metric, []float64{0.5, 0.95, 0.99}, where...)
	return Latency{Number(q[0]), Number(q[1]), Number(q[2])}
}

func (d *delta) traffic(where ...string) Traffic {
	return Traffic{
		Requests: d.rate(requests, where...), Errors: d.rate(failures, where...),
		Fives: d.rate(requests, append([]string{"code", "5xx"}, where...)...),
		In:    d.rate(bytesIn, where...), Out: d.rate(bytesOut, where...),
		InFlight: Number(d.to.Sum(inFlight, where...)), Latency: d.latency(took, where...),
	}
}

func (d *delta) upstream(u *api.Upstream) Upstream {
	out := Upstream{
		Name: u.Name, Requests: d.rate(requests, "upstream", u.Name), Endpoints: len(u.Endpoints),
		Idle: u.Pool.Idle, Busy: u.Pool.Busy, Max: u.Pool.Max, Waiting: u.Pool.Waiting,
		Handshakes: d.rate(handshakes, "upstream", u.Name), Retries: d.rate(retries, "upstream", u.Name),
		FirstByte: d.latency(firstByteTook, "upstream", u.Name),
	}
	for i := range u.Endpoints {
		if state := u.Endpoints[i].State; state == api.EndpointUp || state == api.EndpointUnknown {
			out.Up++
		}
	}
	return out
}

// compare orders numbers, the greatest first and what is not known last.
func compare(a, b float64) int {
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return cmp.Compare(boolean(math.IsNaN(a)), boolean(math.IsNaN(b)))
	}
	return cmp.Compare(b, a)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
