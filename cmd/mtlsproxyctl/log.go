package main

import (
	"io"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// logCmd reads the request log.
type logCmd struct {
	Query  logQueryCmd  `cmd:"" default:"withargs" help:"Print records that were kept. This is the default command."`
	Tail   logTailCmd   `cmd:"" help:"Print records as they are made, until Ctrl-C."`
	Export logExportCmd `cmd:"" help:"Copy records into a file: NDJSON, CSV or Common Log Format."`
	Stats  logStatsCmd  `cmd:"" help:"Say what the request log holds, and how it fares."`
}

// logStatsCmd says how the request log fares.
type logStatsCmd struct{}

// Run prints it.
func (logStatsCmd) Run(x *control) error { return ask(x, x.client.LogStats, x.writeLogStats) }

func (x *control) writeLogStats(w io.Writer, s api.LogStats) error {
	if !s.Enabled {
		return say(w, "the request log is off: log.enabled = true in the configuration keeps records\n")
	}
	oldest, failing := "", ""
	if s.Oldest != nil {
		oldest = x.at(*s.Oldest) + " (" + x.ago(*s.Oldest) + " ago)"
	}
	if s.Error != "" {
		failing = "cannot be written: " + s.Error
	}
	out := x.fields([][2]string{
		{"error", failing},
		{"directory", s.Directory},
		{"holds", text.Number(s.Records, "record") + " in " + text.Bytes(s.Bytes) + " of " + text.Bytes(s.MaxBytes)},
		{"oldest", oldest},
		{"kept for", text.Seconds(s.MaxAge)},
		{"since the start", text.Number(s.Written, "record") + " written, " + text.Number(s.Dropped, "record") + " dropped"},
		{"waiting", text.Bytes(s.Buffered) + " of " + text.Bytes(s.BufferMax) + ", for " + text.Seconds(s.Lag)},
	})
	if len(s.Segments) > 0 {
		t := &text.Table{Columns: []text.Column{{Title: "SEGMENT", Cut: 12}, {Title: "FROM"}, {Title: "TO", Drop: 1}, {Title: "RECORDS", Right: true}, {Title: "SIZE", Right: true}}}
		for _, g := range s.Segments {
			from, to := x.at(g.From), x.at(g.To)
			if g.Problem != "" { // nobody knows what is in it
				from, to = "-", "-"
			}
			t.Row(text.C(g.Name), text.Cell{Text: from}, text.Cell{Text: to}, num(g.Records), size(g.Bytes))
		}
		out += "\n" + t.String(x.page)
	}
	out += x.unreadable(s.Segments)
	if len(s.Quarantined) > 0 {
		t := &text.Table{Columns: []text.Column{{Title: "PUT ASIDE", Cut: 12}, {Title: "AT", Drop: 1}, {Title: "SIZE", Right: true, Drop: 2}, {Title: "WHY", Cut: 16}}}
		for _, q := range s.Quarantined {
			t.Row(text.C(q.Name).In(text.Warn), text.Cell{Text: x.at(q.Time)}, size(q.Bytes), text.C(q.Why))
		}
		out += "\n" + t.String(x.page)
	}
	return say(w, out)
}

// unreadable tells why segments cannot be read, in whole sentences: they say what to do.
func (x *control) unreadable(segments []api.Segment) string {
	var b strings.Builder
	for _, g := range segments {
		if g.Problem != "" {
			b.WriteString(x.page.Paint(text.Warn, "cannot be read") + ": " + text.Safe(g.Name) + ": " + text.Safe(g.Problem) + "\n")
		}
	}
	return b.String()
}
