package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

const noRoutes = "no routes: nothing is forwarded"

// routesCmd lists the routes.
type routesCmd struct {
	watched
}

// Run prints the routes.
func (c *routesCmd) Run(x *control) error {
	return repeat(x, c.Watch, x.client.Routes, func(w io.Writer, list []api.Route) error {
		return x.printTable(w, x.routesTable(list), noRoutes)
	})
}

func (x *control) routesTable(list []api.Route) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "ROUTE", Cut: 12}, {Title: "HOSTS", Cut: 12}, {Title: "PATH", Cut: 6}, {Title: "METHODS", Drop: 5, Maybe: true},
		{Title: "LISTENERS", Drop: 6, Maybe: true}, {Title: "CALLERS", Cut: 8}, {Title: "UPSTREAM", Cut: 8},
		{Title: "NOW", Right: true, Drop: 1}, {Title: "REQUESTS", Right: true, Drop: 2}, {Title: "ERRORS", Right: true},
		{Title: "IN", Right: true, Drop: 4}, {Title: "OUT", Right: true, Drop: 3},
	}}
	for _, r := range list {
		t.Row(text.C(r.Name), text.C(strings.Join(r.Hosts, ",")), text.C(r.Path), text.C(strings.Join(r.Methods, ",")),
			text.C(strings.Join(r.Listeners, ",")), text.C(strings.Join(r.Callers, ",")), text.C(r.Upstream),
			num(r.InFlight), num(r.Requests), faults(r.Errors), size(r.BytesIn), size(r.BytesOut))
	}
	return t
}

// num is a cell with a number.
func num[T int | int64 | uint64](n T) text.Cell { return text.Cell{Text: fmt.Sprint(n)} }

// size is a cell with a number of bytes.
func size[T int64 | uint64](n T) text.Cell { return text.Cell{Text: text.Bytes(n)} }

// faults is a cell with a number that is best 0.
func faults(n uint64) text.Cell {
	if n == 0 {
		return num(n)
	}
	return num(n).In(text.Warn)
}
