package prom

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Sum adds up the values of a metric whose labels include all of where: pairs of
// a label's name and its value.
func (s Sample) Sum(metric string, where ...string) float64 {
	sum := 0.0
	for _, v := range s[metric] {
		if v.has(where) {
			sum += v.Value
		}
	}
	return sum
}

// Values returns the distinct values of a label, in order.
func (s Sample) Values(metric, label string) []string {
	set := map[string]bool{}
	for _, v := range s[metric] {
		if value, ok := v.Labels[label]; ok {
			set[value] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (v *Series) has(where []string) bool {
	for i := 0; i+1 < len(where); i += 2 {
		if v.Labels[where[i]] != where[i+1] {
			return false
		}
	}
	return true
}

// Increase says by how much counters grew from one sample to the next. A counter
// that is less than it was has started anew, from zero.
func Increase(from, to Sample, metric string, where ...string) float64 {
	before := map[string]float64{}
	for _, v := range from[metric] {
		if v.has(where) {
			before[v.key()] = v.Value
		}
	}
	sum := 0.0
	for _, v := range to[metric] {
		if v.has(where) {
			sum += grown(before[v.key()], v.Value)
		}
	}
	return sum
}

func grown(before, now float64) float64 {
	if now < before {
		return now
	}
	return now - before
}

// key tells series of one metric apart.
func (v *Series) key() string {
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v.Labels)) {
		key.WriteString(name + "=" + strconv.Quote(v.Labels[name]) + ",")
	}
	return key.String()
}

// Quantiles returns estimates of quantiles of what a histogram saw between two
// samples, as Prometheus's histogram_quantile makes them: linear within a bucket,
// and the highest finite bound for what lies beyond it. They are NaN if it saw
// nothing.
func Quantiles(from, to Sample, metric string, q []float64, where ...string) []float64 {
	buckets := increases(from, to, metric+"_bucket", where)
	out := make([]float64, len(q))
	for i := range q {
		out[i] = quantile(buckets, q[i])
	}
	return out
}

// bucket counts what is at most bound.
type bucket struct{ bound, count float64 }

func increases(from, to Sample, metric string, where []string) []bucket {
	before := map[string]float64{}
	for _, v := range from[metric] {
		if v.has(where) {
			before[v.key()] = v.Value
		}
	}
	counts := map[float64]float64{}
	for _, v := range to[metric] {
		bound, err := strconv.ParseFloat(v.Labels["le"], 64)
		if err != nil || math.IsNaN(bound) || !v.has(where) {
			continue
		}
		counts[bound] += grown(before[v.key()], v.Value)
	}
	out := make([]bucket, 0, len(counts))
	for _, bound := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, bucket{bound, counts[bound]})
	}
	return out
}

func quantile(buckets []bucket, q float64) float64 {
	last := len(buckets) - 1
	if last < 1 || !math.IsInf(buckets[last].bound, 1) || !(buckets[last].count > 0) {
		return math.NaN()
	}
	rank := q * buckets[last].count
	lower, below := 0.0, 0.0
	for _, b := range buckets[:last] {
		if b.count >= rank && b.count > below {
			return lower + (b.bound-lower)*max(0, rank-below)/(b.count-below)
		}
		lower, below = b.bound, max(below, b.count)
	}
	return buckets[last-1].bound
}
