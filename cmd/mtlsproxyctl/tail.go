package main

import (
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// logTailCmd prints records as they are made.
type logTailCmd struct {
	filter
}

// Help is the second half of --help.
func (logTailCmd) Help() string {
	return `It says where records are missing because they were made faster than they could be
printed.

  mtlsproxyctl log tail --class any
  mtlsproxyctl log tail --route billing --json | jq -c '{time, status, path}'`
}

// clockOnly is the time of a record that was made just now.
const clockOnly = "15:04:05.000"

// Run prints them.
func (c *logTailCmd) Run(x *control) error {
	q, err := c.query(x)
	if err != nil {
		return err
	}
	if x.json {
		return x.followed(x.client.Tail(x.ctx, q, func(r api.Record) error { return x.sayJSON(r) }, x.lost("record")))
	}
	l := x.recordTable(true).Fit(x.page)
	if err := say(x.stdout, l.Titles()+"\n"); err != nil {
		return err
	}
	return x.followed(x.client.Tail(x.ctx, q, func(r api.Record) error {
		return say(x.stdout, l.Line(x.recordRow(&r, clockOnly))+"\n")
	}, x.lost("record")))
}
