package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// logExportCmd copies records into a file.
type logExportCmd struct {
	filter
	period
	Format string `help:"ndjson, csv or clf." enum:"ndjson,csv,clf" default:"ndjson" placeholder:"ndjson"`
	Output string `short:"o" help:"File; it is there once it is complete, mode 0600. Default: standard output." placeholder:"FILE"`
}

// Help is the second half of --help.
func (logExportCmd) Help() string {
	return `The oldest record comes first, and all come that the flags ask for.

  ndjson  one JSON value per line, as --json prints them elsewhere
  csv     RFC 4180: a header, and lines that end in CRLF. Text that a spreadsheet
          would take for a formula, because it begins with = + - @ or a tab or CR,
          gets a ' in front. Times are RFC 3339 in UTC, durations seconds.
  clf     Common Log Format, as Apache writes it: %h %l %u %t "%r" %>s %b. The host
          is localhost, the user the caller's, times are local. The size has the
          head of the response in it, and the protocol is always HTTP/1.1: neither
          is in the records otherwise.

A reader that pauses is waited for, but not longer than 10 minutes; a file never pauses.

  mtlsproxyctl log export --from yesterday --to today --format csv -o requests.csv
  mtlsproxyctl log export --format clf | goaccess --log-format=COMMON -`
}

// format writes records.
type format interface {
	begin(w *bufio.Writer) error
	record(w *bufio.Writer, r *api.Record) error
}

func (x *control) format(name string) format {
	switch name {
	case "csv":
		return csvFormat{}
	case "clf":
		return clfFormat{x}
	}
	return ndjson{}
}

// ndjson is one JSON value per line.
type ndjson struct{}

func (ndjson) begin(*bufio.Writer) error { return nil }

func (ndjson) record(w *bufio.Writer, r *api.Record) error {
	line, err := lineJSON(r)
	if err != nil {
		return err
	}
	return say(w, line)
}

// exported is what is printed as JSON when the records went into a file.
type exported struct {
	Records uint64 `json:"records"`
	File    string `json:"file"`
}

// Run exports.
func (c *logExportCmd) Run(x *control) error {
	q, err := c.query(x)
	if err != nil {
		return err
	}
	if err := c.period.limit(&q, x.now()); err != nil {
		return err
	}
	toFile := c.Output != "" && c.Output != "-"
	if x.json && !toFile && c.Format != "ndjson" {
		return usageError{"--json: standard output cannot be JSON and " + c.Format + "; name a file with --output, or leave one out"}
	}
	q.Oldest, q.Limit = true, api.All
	e := &export{control: x, query: q, format: x.format(c.Format), bar: x.newBar(&q)}
	if !toFile {
		return errors.Join(e.copy(x.ctx, x.plain()), e.bar.end())
	}
	err = replace(c.Output, func(w io.Writer) error { return e.copy(x.ctx, w) })
	if err = errors.Join(err, e.bar.end()); err != nil {
		return err
	}
	if x.json {
		return x.sayJSON(exported{e.count, c.Output})
	}
	return say(x.stderr, text.Number(e.count, "record")+" in "+text.Safe(c.Output)+"\n")
}

// export is one export under way.
type export struct {
	*control

	query  api.Query
	format format
	bar    *bar
	count  uint64
}

// copy writes all records to w.
func (e *export) copy(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if err := e.format.begin(out); err != nil {
		return err
	}
	err := e.client.Records(ctx, e.query, func(r api.Record) error {
		e.count++
		e.bar.at(r.Time, e.count)
		return e.format.record(out, &r)
	})
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("writing: %w", flushed)
	}
	return err
}

// newBar makes the bar of an export: it moves through the time between the oldest
// record and the end of the query.
func (x *control) newBar(q *api.Query) *bar {
	width, _, yes := x.terminal(x.stderr)
	if !yes || x.json {
		return nil
	}
	from, to := q.From, q.To
	if to.IsZero() || to.After(x.now()) {
		to = x.now()
	}
	ctx, cancel := x.within()
	defer cancel()
	if s, err := x.client.LogStats(ctx); err == nil && s.Oldest != nil && s.Oldest.After(from) {
		from = *s.Oldest
	}
	return &bar{to: x.stderr, page: text.Page{Width: width, Color: x.colours()}, now: x.now, from: from, span: to.Sub(from), next: x.now().Add(barAfter)}
}
