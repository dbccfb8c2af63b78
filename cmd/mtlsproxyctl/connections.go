package main

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// connectionsCmd lists the connections of clients.
type connectionsCmd struct {
	watched
	Sort string `help:"What comes first: the oldest (age), or the most of in, out or exchanges; or by caller, route or listener." enum:"age,in,out,exchanges,caller,route,listener" default:"age" placeholder:"age"`
}

// Run prints the connections.
func (c *connectionsCmd) Run(x *control) error {
	question := func(ctx context.Context) ([]api.Connection, error) {
		list, err := x.client.Connections(ctx)
		slices.SortStableFunc(list, x.order(c.Sort))
		return list, err
	}
	return repeat(x, c.Watch, question, func(w io.Writer, list []api.Connection) error {
		return x.printTable(w, x.connectionTable(list), "no connections")
	})
}

func (x *control) order(by string) func(a, b api.Connection) int {
	switch by {
	case "in":
		return func(a, b api.Connection) int { return cmp.Compare(b.BytesIn, a.BytesIn) }
	case "out":
		return func(a, b api.Connection) int { return cmp.Compare(b.BytesOut, a.BytesOut) }
	case "exchanges":
		return func(a, b api.Connection) int { return cmp.Compare(b.Exchanges, a.Exchanges) }
	case "caller":
		return func(a, b api.Connection) int { return cmp.Compare(x.who(&a), x.who(&b)) }
	case "route":
		return func(a, b api.Connection) int { return cmp.Compare(a.Route, b.Route) }
	case "listener":
		return func(a, b api.Connection) int { return cmp.Compare(a.Listener, b.Listener) }
	}
	return func(a, b api.Connection) int { return a.Since.Compare(b.Since) }
}

// who names who is at the other end.
func (x *control) who(c *api.Connection) string {
	if c.Caller != nil && c.User != "" {
		return c.User
	}
	return x.caller(c.Caller)
}

func (x *control) connectionTable(list []api.Connection) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "ID", Right: true, Drop: 6}, {Title: "AGE", Right: true}, {Title: "STATE"}, {Title: "CALLER", Cut: 8}, {Title: "PID", Right: true, Drop: 4, Maybe: true},
		{Title: "LISTENER", Cut: 8, Drop: 3}, {Title: "REMOTE", Cut: 12, Drop: 5, Maybe: true}, {Title: "ROUTE", Cut: 8},
		{Title: "EXCHANGES", Right: true}, {Title: "IN", Right: true, Drop: 2}, {Title: "OUT", Right: true, Drop: 1},
	}}
	for i := range list {
		c := &list[i]
		pid := ""
		if c.PID != 0 {
			pid = strconv.Itoa(c.PID)
		}
		t.Row(num(c.ID), text.Cell{Text: x.ago(c.Since)}, text.C(c.State), text.C(x.who(c)), text.Cell{Text: pid}, text.C(c.Listener),
			text.C(c.Remote), text.C(c.Route), num(c.Exchanges), size(c.BytesIn), size(c.BytesOut))
	}
	return t
}
