package main

import (
	"fmt"
	"io"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// limitsCmd lists the limits.
type limitsCmd struct {
	watched
}

// Run prints the limits.
func (c *limitsCmd) Run(x *control) error {
	return repeat(x, c.Watch, x.client.Limits, func(w io.Writer, list []api.Limit) error {
		return x.printTable(w, limitTable(list), "no limits")
	})
}

// crowded is the share of a limit from which its use is worth a look.
const crowded = 0.8

func limitTable(list []api.Limit) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "LIMIT", Cut: 14}, {Title: "SUBJECT", Cut: 14}, {Title: "USED", Right: true}, {Title: "OF", Right: true}, {Title: "UNIT", Drop: 3, Maybe: true},
		{Title: "USE", Right: true, Drop: 1}, {Title: "WAITING", Right: true, Drop: 2}, {Title: "REJECTED", Right: true},
	}}
	for _, l := range list {
		used, capacity, unit := num(l.Used), num(l.Capacity), text.C(l.Unit)
		if l.Capacity <= 0 {
			capacity = text.Cell{Text: "-"}
			if l.Used == 0 { // nobody knows
				used = text.Cell{Text: "-"}
			}
		}
		if l.Unit == "bytes" {
			used, capacity, unit = size(l.Used), size(l.Capacity), text.Cell{}
		}
		share := text.Cell{Text: "-"}
		if l.Capacity > 0 {
			part := float64(l.Used) / float64(l.Capacity)
			share.Text = fmt.Sprintf("%.0f %%", 100*part)
			switch {
			case part >= 1:
				share.Tone = text.Bad
			case part >= crowded:
				share.Tone = text.Warn
			}
		}
		t.Row(text.C(l.Name), text.C(l.Subject), used, capacity, unit, share, num(l.Waiting), faults(l.Rejected))
	}
	return t
}
