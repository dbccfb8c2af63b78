package main

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/prom"
	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
)

// metricsCmd prints the metrics.
type metricsCmd struct{}

// Help is the second half of --help.
func (metricsCmd) Help() string {
	return `It prints what GET /metrics on the admin socket answers, as it is. With --json each
line is one of them: {"name": …, "labels": {…}, "value": "1.5"}, its value as text,
since JSON has no word for infinity.`
}

// metric is one value as JSON.
type metric struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  string            `json:"value"`
}

// Run prints them.
func (metricsCmd) Run(x *control) error {
	ctx, cancel := x.within()
	defer cancel()
	if !x.json {
		return slow(ctx, x.client.Metrics(ctx, x.plain()))
	}
	var b bytes.Buffer
	if err := x.client.Metrics(ctx, &b); err != nil {
		return slow(ctx, err)
	}
	sample, err := prom.Parse(&b)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(sample)) {
		for _, s := range sample[name] {
			if err := x.sayJSON(metric{name, s.Labels, strconv.FormatFloat(s.Value, 'g', -1, 64)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain is standard output for text of others that is printed as it is.
func (x *control) plain() io.Writer {
	if _, _, yes := x.terminal(x.stdout); yes {
		return text.Filter{To: x.stdout}
	}
	return x.stdout
}
