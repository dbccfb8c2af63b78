package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

const noUpstreams = "no upstreams"

// upstreamsCmd lists the upstreams.
type upstreamsCmd struct {
	watched
}

// Help is the second half of --help.
func (upstreamsCmd) Help() string {
	return `The first table is about the connections of each upstream, the second about its
endpoints: in which state they are, and why if it is not "up". Exchanges go to those that
are "up", "not tried yet", "recovering" (with less than their share for a while) and
"failing" (their last health check did), but not to those that are "ill" (so many checks
failed that they are not used), "shunned" (their breaker is open, until then), "drained"
(by hand) or have "no address". One that is "down" could not be connected to the last
time; to one that is "half open" a single exchange goes, to find out. "via" stands for
the addresses of endpoints that a proxy looks up.`
}

// Run prints the upstreams.
func (c *upstreamsCmd) Run(x *control) error {
	return repeat(x, c.Watch, x.client.Upstreams, x.writeUpstreams)
}

func (x *control) writeUpstreams(w io.Writer, list []api.Upstream) error {
	if err := x.printTable(w, poolTable(list), noUpstreams); err != nil || len(list) == 0 {
		return err
	}
	return say(w, "\n"+x.endpointTable(list).String(x.page))
}

// upstreamsTable is one line for each upstream, for status.
func upstreamsTable(list []api.Upstream) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "UPSTREAM", Cut: 12}, {Title: "IDENTITY", Cut: 8, Drop: 2}, {Title: "ENDPOINTS", Cut: 16}, {Title: "CONNECTIONS", Right: true},
		{Title: "BUSY", Right: true, Drop: 1}, {Title: "WAITING", Right: true}, {Title: "RETRIES", Right: true, Drop: 3},
	}}
	for _, u := range list {
		t.Row(text.C(u.Name), text.C(u.Identity), endpointsInShort(u.Endpoints), num(u.Pool.Open), num(u.Pool.Busy), num(u.Pool.Waiting), num(u.Retries))
	}
	return t
}

// endpointsInShort counts the endpoints by state: "2 up", or "1 up, 1 shunned".
func endpointsInShort(list []api.Endpoint) text.Cell {
	var parts []string
	tone := text.Bad
	for _, state := range api.EndpointStates() {
		n := 0
		for i := range list {
			if list[i].State == state {
				n++
			}
		}
		if n == 0 {
			continue
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, stateName(state)))
		switch {
		case n == len(list) && (state == api.EndpointUp || state == api.EndpointUnknown):
			tone = text.Plain
		case api.Usable(state):
			tone = text.Warn
		}
	}
	return text.Cell{Text: strings.Join(parts, ", "), Tone: tone}
}

func stateName(state string) string {
	if state == api.EndpointUnknown {
		return "not tried yet"
	}
	return text.Safe(strings.ReplaceAll(state, "_", " "))
}

func poolTable(list []api.Upstream) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "UPSTREAM", Cut: 12}, {Title: "IDENTITY", Cut: 8, Drop: 2}, {Title: "SERVER NAME", Cut: 10, Drop: 6, Maybe: true},
		{Title: "OPEN", Right: true}, {Title: "MAX", Right: true, Drop: 1}, {Title: "IDLE", Right: true}, {Title: "BUSY", Right: true},
		{Title: "WAITING", Right: true}, {Title: "OPENED", Right: true, Drop: 5}, {Title: "REUSED", Right: true, Drop: 4},
		{Title: "HANDSHAKES", Right: true, Drop: 8}, {Title: "RESUMED", Right: true, Drop: 7}, {Title: "RETRIES", Right: true, Drop: 3},
	}}
	for _, u := range list {
		identity := text.C(fmt.Sprintf("%s (%d)", u.Identity, u.Generation))
		if u.Generation == 0 {
			identity = text.C(u.Identity + " (not loaded)").In(text.Bad)
		}
		waiting := num(u.Pool.Waiting)
		if u.Pool.Waiting > 0 {
			waiting = waiting.In(text.Warn)
		}
		t.Row(text.C(u.Name), identity, text.C(u.ServerName), num(u.Pool.Open), num(u.Pool.Max), num(u.Pool.Idle), num(u.Pool.Busy),
			waiting, num(u.Pool.Opened), num(u.Pool.Reused), num(u.Handshakes), num(u.Resumed), num(u.Retries))
	}
	return t
}

func (x *control) endpointTable(list []api.Upstream) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "ENDPOINT", Cut: 20}, {Title: "ADDRESSES", Cut: 12, Drop: 4}, {Title: "STATE"}, {Title: "PENDING", Right: true, Drop: 3},
		{Title: "IDLE", Right: true, Drop: 5}, {Title: "BUSY", Right: true, Drop: 6}, {Title: "ATTEMPTS", Right: true, Drop: 2},
		{Title: "FAILURES", Right: true}, {Title: "WHY", Cut: 30, Maybe: true},
	}}
	for _, u := range list {
		for i := range u.Endpoints {
			e := &u.Endpoints[i]
			addresses := strings.Join(e.IPs, ",")
			if u.Via != "" {
				addresses = "via " + u.Via
			}
			t.Row(text.C(u.Name+"/"+e.Address), text.C(addresses), state(e), num(e.Pending), num(e.Idle), num(e.Busy),
				num(e.Attempts), faults(e.Failures), text.C(x.why(e)))
		}
	}
	return t
}

func state(e *api.Endpoint) text.Cell {
	c := text.Cell{Text: stateName(e.State)}
	switch e.State {
	case api.EndpointUp:
		return c.In(text.Good)
	case api.EndpointUnknown:
		return c
	case api.EndpointDrained, api.EndpointRecovering, api.EndpointFailing, api.EndpointHalfOpen:
		return c.In(text.Warn)
	}
	return c.In(text.Bad)
}

// why says why an endpoint is not up, and until when; of one that is, how it failed
// last.
func (x *control) why(e *api.Endpoint) string {
	if e.State == api.EndpointUp || e.Why == "" {
		if e.LastError == "" {
			return ""
		}
		last := "last error"
		if e.LastTime != nil {
			last += " " + x.ago(*e.LastTime) + " ago"
		}
		return last + ": " + e.LastError
	}
	if e.Until != nil {
		if left := e.Until.Sub(x.now()); left >= time.Second {
			return e.Why + "; for another " + text.Age(left)
		}
		return e.Why + "; for another moment"
	}
	return e.Why
}
