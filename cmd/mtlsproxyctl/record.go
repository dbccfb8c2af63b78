package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// recordTable has a row for each record. One that grows does not know yet how wide
// its cells will be, so that its columns are as wide as most of them are.
func (x *control) recordTable(grows bool) *text.Table {
	c := []text.Column{
		{Title: "TIME"}, {Title: "STATUS", Right: true}, {Title: "TOOK", Right: true}, {Title: "CLASS", Drop: 2, Maybe: true}, {Title: "CALLER", Cut: 8, Drop: 3},
		{Title: "ROUTE", Cut: 8, Drop: 4}, {Title: "ENDPOINT", Cut: 16, Drop: 5}, {Title: "OUT", Right: true, Drop: 6}, {Title: "ID", Drop: 7},
		{Title: "REQUEST", Cut: 24},
	}
	if grows {
		for i, least := range []int{12, 6, 7, 14, 10, 12, 20, 9, 20, 24} {
			c[i].Least, c[i].Maybe = least, false
		}
	}
	return &text.Table{Columns: c}
}

func (x *control) recordRow(r *api.Record, layout string) []text.Cell {
	return []text.Cell{
		{Text: r.Time.In(x.clock).Format(layout)}, status(r), {Text: text.Seconds(r.Total)}, text.C(r.Class).In(recordTone(r)), text.C(x.caller(r.Caller)),
		text.C(r.Route), text.C(r.Endpoint), size(r.BytesOut), text.C(r.ID), text.C(r.Method + " " + r.Host + r.Path),
	}
}

// status is what was answered; "-" if nothing was.
func status(r *api.Record) text.Cell {
	if r.Status == 0 {
		return text.Cell{Text: "-", Tone: text.Bad}
	}
	return num(r.Status).In(recordTone(r))
}

func recordTone(r *api.Record) text.Tone {
	switch {
	case r.Status >= 500 || r.Status == 0:
		return text.Bad
	case r.Status >= 400 || r.Class != "":
		return text.Warn
	}
	return text.Plain
}

// detail is all that a record says.
func (x *control) detail(r *api.Record) [][2]string {
	answer, caller := strconv.Itoa(r.Status), x.caller(r.Caller)
	if r.Status == 0 {
		answer = "none"
	}
	if r.Caller != nil {
		caller = fmt.Sprintf("%s (uid %d)", caller, *r.Caller)
	}
	fault := ""
	if r.Class != "" {
		fault = fmt.Sprintf("%s, the fault of %s", r.Class, r.Fault)
	}
	connection := ""
	if r.Endpoint != "" {
		connection = "new"
		if r.Reused {
			connection = "had carried an exchange before"
		}
		if r.TLS != "" {
			connection += ", TLS " + r.TLS
		}
	}
	certificate := ""
	if r.Serial != "" {
		certificate = fmt.Sprintf("serial %s, generation %d", r.Serial, r.Generation)
	}
	return [][2]string{
		{"id", r.ID}, {"time", r.Time.In(x.clock).Format(stamp + " -0700")}, {"request", r.Method + " " + r.Host + r.Path},
		{"status", answer}, {"class", fault}, {"caller", caller}, {"listener", r.Listener}, {"route", r.Route},
		{"upstream", r.Upstream}, {"endpoint", r.Endpoint}, {"connection", connection}, {"certificate", certificate},
		{"attempts", strconv.Itoa(r.Attempts)}, {"bytes", fmt.Sprintf("%d in, %d out", r.BytesIn, r.BytesOut)},
		{"took", tookInDetail(r)},
	}
}

func tookInDetail(r *api.Record) string {
	parts := []string{text.Seconds(r.Total)}
	for _, part := range []struct {
		seconds float64
		format  string
	}{{r.Queue, "%s waiting for a connection"}, {r.Connect, "%s making one"}, {r.FirstByte, "first byte after %s"}} {
		if part.seconds > 0 {
			parts = append(parts, fmt.Sprintf(part.format, text.Seconds(part.seconds)))
		}
	}
	return strings.Join(parts, ", ")
}
