package main

import (
	"slices"
	"strconv"
	"time"
)

// metric is one row of the results.
type metric struct {
	id     string
	title  string
	unit   string
	digits int  // after the decimal point
	sum    bool // one number for all rounds, not one for each
}

// metrics lists the rows in the order in which they are shown.
func metrics() []metric {
	return []metric{
		{id: "small.cpu", title: "small: CPU per request", unit: "µs", digits: 1},
		{id: "small.rps", title: "small: peak rate", unit: "req/s", digits: 0},
		{id: "small.p50", title: "small: p50 at peak", unit: "µs", digits: 0},
		{id: "small.p99", title: "small: p99 at peak", unit: "µs", digits: 0},
		{id: "rate.p50", title: "half rate: p50", unit: "µs", digits: 0},
		{id: "rate.p99", title: "half rate: p99", unit: "µs", digits: 0},
		{id: "rate.p999", title: "half rate: p99.9", unit: "µs", digits: 0},
		{id: "rate.cpu", title: "half rate: CPU per request", unit: "µs", digits: 1},
		{id: "down.cpu", title: "download: CPU per GB", unit: "s", digits: 3},
		{id: "down.speed", title: "download: speed", unit: "MB/s", digits: 0},
		{id: "up.cpu", title: "upload: CPU per GB", unit: "s", digits: 3},
		{id: "up.speed", title: "upload: speed", unit: "MB/s", digits: 0},
		{id: "idle.kib", title: "idle: memory per connection", unit: "KiB", digits: 2},
		{id: "log.kept", title: "request log: records written", unit: "all rounds", sum: true},
		{id: "log.lost", title: "request log: requests without a record", unit: "all rounds", sum: true},
	}
}

func metricByID(id string) metric {
	for _, m := range metrics() {
		if m.id == id {
			return m
		}
	}
	panic("BUG: unknown metric " + id)
}

func (m metric) format(v float64) string { return strconv.FormatFloat(v, 'f', m.digits, 64) }

// series holds one value per round.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// cell names a series: what, of whom, with how many threads.
type cell struct {
	threads int
	peer    string
	metric  string
}

// column is a peer as it stands in the results.
type column struct {
	Name    string
	Version string
	Own     bool
}

// results is all that a report is made from.
type results struct {
	when    time.Time
	machine machine
	columns []column
	threads []int
	rounds  int
	method  []string // sentences with this run's numbers
	skipped []string
	rate    map[int]float64 // requests/s of the half-rate section, by threads
	values  map[cell]series
}

func (r *results) add(threads int, peer, metric string, v float64) {
	c := cell{threads, peer, metric}
	r.values[c] = append(r.values[c], v)
}

// count adds to a number that there is one of for all rounds.
func (r *results) count(threads int, peer, metric string, v int64) {
	c := cell{threads, peer, metric}
	if len(r.values[c]) == 0 {
		r.values[c] = series{0}
	}
	r.values[c][0] += float64(v)
}

// median returns the median of a series, and whether there is one.
func (r *results) median(threads int, peer, metric string) (float64, bool) {
	s := r.values[cell{threads, peer, metric}]
	if len(s) == 0 {
		return 0, false
	}
	return s.median(), true
}

// ratio returns the median of one peer over that of another.
func (r *results) ratio(threads int, peer, over, metric string) (float64, bool) {
	a, ok1 := r.median(threads, peer, metric)
	b, ok2 := r.median(threads, over, metric)
	if !ok1 || !ok2 || b == 0 {
		return 0, false
	}
	return a / b, true
}

// subject is the column the ratios are about: mtlsproxy, or else its first other build.
func (r *results) subject() string {
	for _, c := range r.columns {
		if c.Own {
			return c.Name
		}
	}
	return ""
}

// others returns all columns but the subject.
func (r *results) others() []column {
	return slices.DeleteFunc(slices.Clone(r.columns), func(c column) bool { return c.Name == r.subject() })
}

// goal is a promise about the medians.
type goal struct {
	text   string
	metric string
	of     string // empty: the subject
	over   string // the peer compared with; empty: the bare value
	minus  string // the peer whose value is taken off; empty: none
	limit  float64
}

func goals() []goal {
	return []goal{
		{text: "CPU per small request ≤ 0.9 × nginx", metric: "small.cpu", over: "nginx", limit: 0.9},
		{text: "CPU per small request ≤ 1.0 × HAProxy", metric: "small.cpu", over: "haproxy", limit: 1.0},
		{text: "CPU per GB of download ≤ 1.0 × HAProxy", metric: "down.cpu", over: "haproxy", limit: 1.0},
		{text: "p99 at half of nginx's peak ≤ 1.2 × nginx", metric: "rate.p99", over: "nginx", limit: 1.2},
		{text: "memory per idle connection ≤ 8 KiB", metric: "idle.kib", limit: 8},
		{text: "request log on, CPU per small request ≤ 1.08 × off", metric: "small.cpu", of: logOn, over: logOff, limit: 1.08},
		{text: "request log on, p99 at half of nginx's peak ≤ 1.10 × off", metric: "rate.p99", of: logOn, over: logOff, limit: 1.10},
		{text: "limits on, CPU per small request ≤ off + 1 µs", metric: "small.cpu", of: limitsOn, minus: limitsOff, limit: 1},
	}
}

// value returns the value a goal looks at, and whether there is one.
func (g goal) value(r *results, threads int) (float64, bool) {
	of := g.of
	if of == "" {
		of = r.subject()
	}
	switch {
	case g.minus != "":
		a, ok1 := r.median(threads, of, g.metric)
		b, ok2 := r.median(threads, g.minus, g.metric)
		return a - b, ok1 && ok2
	case g.over == "":
		return r.median(threads, of, g.metric)
	}
	return r.ratio(threads, of, g.over, g.metric)
}

func (g goal) verdict(r *results, threads int) string {
	v, ok := g.value(r, threads)
	switch {
	case !ok:
		return "not measured"
	case v <= g.limit:
		return "holds: " + strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return "missed: " + strconv.FormatFloat(v, 'f', 2, 64)
	}
}
