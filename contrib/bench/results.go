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
	digits int // after the decimal point
}

// metrics lists the rows in the order in which they are shown.
func metrics() []metric {
	return []metric{
		{"small.cpu", "small: CPU per request", "µs", 1},
		{"small.rps", "small: peak rate", "req/s", 0},
		{"small.p50", "small: p50 at peak", "µs", 0},
		{"small.p99", "small: p99 at peak", "µs", 0},
		{"rate.p50", "half rate: p50", "µs", 0},
		{"rate.p99", "half rate: p99", "µs", 0},
		{"rate.p999", "half rate: p99.9", "µs", 0},
		{"rate.cpu", "half rate: CPU per request", "µs", 1},
		{"down.cpu", "download: CPU per GB", "s", 3},
		{"down.speed", "download: speed", "MB/s", 0},
		{"up.cpu", "upload: CPU per GB", "s", 3},
		{"up.speed", "upload: speed", "MB/s", 0},
		{"idle.kib", "idle: memory per connection", "KiB", 2},
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

// goal is a promise about the medians of the subject.
type goal struct {
	text   string
	metric string
	over   string // the peer compared with; empty: the bare value
	limit  float64
}

func goals() []goal {
	return []goal{
		{"CPU per small request ≤ 0.9 × nginx", "small.cpu", "nginx", 0.9},
		{"CPU per small request ≤ 1.0 × HAProxy", "small.cpu", "haproxy", 1.0},
		{"CPU per GB of download ≤ 1.0 × HAProxy", "down.cpu", "haproxy", 1.0},
		{"p99 at half of nginx's peak ≤ 1.2 × nginx", "rate.p99", "nginx", 1.2},
		{"memory per idle connection ≤ 8 KiB", "idle.kib", "", 8},
	}
}

// verdict returns the value a goal looks at, and whether there is one.
func (g goal) value(r *results, threads int) (float64, bool) {
	if g.over == "" {
		return r.median(threads, r.subject(), g.metric)
	}
	return r.ratio(threads, r.subject(), g.over, g.metric)
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
