package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// logQueryCmd prints records that were kept.
type logQueryCmd struct {
	filter
	period
	Oldest bool `help:"Oldest first."`
	Limit  *int `short:"n" help:"How many at most. Default: 50." placeholder:"50" xor:"limit"`
	All    bool `help:"All there are." xor:"limit"`
}

// Help is the second half of --help.
func (logQueryCmd) Help() string {
	return `The newest come first. With --id, all that is known of the request is printed.
A reader that pauses, such as less, is waited for, but not longer than 10 minutes;
for more, log export --output writes a file.

  mtlsproxyctl log --class any --from 1h
  mtlsproxyctl log --route billing --min 500ms --from yesterday --to today
  mtlsproxyctl log --caller app --path '/v1/*' --all --json`
}

// usualLimit is as much as one looks at.
const usualLimit = 50

// Run prints them.
func (c *logQueryCmd) Run(x *control) error {
	q, err := c.query(x)
	if err != nil {
		return err
	}
	if err := c.period.limit(&q, x.now()); err != nil {
		return err
	}
	switch q.Limit = usualLimit; {
	case c.All:
		q.Limit = api.All
	case c.Limit != nil && *c.Limit <= 0:
		return usageError{fmt.Sprintf("--limit: less than one (got %d, want 50, or --all)", *c.Limit)}
	case c.Limit != nil:
		q.Limit = *c.Limit
	}
	q.Oldest = c.Oldest
	ctx, cancel := x.within()
	if c.All { // which may take its time
		cancel()
		ctx, cancel = x.ctx, func() {}
	}
	defer cancel()
	out := bufio.NewWriter(x.stdout)
	err = x.records(ctx, q, out)
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("printing: %w", flushed)
	}
	return slow(ctx, err)
}

// settled is how many records decide how wide the columns are.
const settled = 500

// records prints the answer to a query. A long one is not gathered first.
func (x *control) records(ctx context.Context, q api.Query, out *bufio.Writer) error {
	switch {
	case x.json:
		return x.client.Records(ctx, q, func(r api.Record) error {
			line, err := lineJSON(r)
			return errors.Join(err, say(out, line))
		})
	case q.ID != "":
		return x.details(ctx, q, out)
	}
	t := x.recordTable(false)
	layout := stamp
	if x.page.Width > 0 && x.page.Width < 100 {
		layout = "01-02 15:04:05"
	}
	var l *text.Layout
	begin := func() {
		l = t.Fit(x.page)
		_ = say(out, l.Titles()+"\n")
		for _, row := range t.Rows {
			_ = say(out, l.Line(row)+"\n")
		}
	}
	err := x.client.Records(ctx, q, func(r api.Record) error {
		row := x.recordRow(&r, layout)
		if l != nil {
			return say(out, l.Line(row)+"\n")
		}
		if t.Row(row...); len(t.Rows) == settled {
			begin()
		}
		return nil
	})
	switch {
	case l == nil && len(t.Rows) > 0:
		begin()
	case l == nil && err == nil:
		_ = say(out, "no records\n")
	}
	return err
}

// details prints all that is known of requests.
func (x *control) details(ctx context.Context, q api.Query, out *bufio.Writer) error {
	n := 0
	err := x.client.Records(ctx, q, func(r api.Record) error {
		if n++; n > 1 {
			_ = say(out, "\n")
		}
		return say(out, x.fields(x.detail(&r)))
	})
	if n == 0 && err == nil {
		return say(out, "no records\n")
	}
	return err
}
