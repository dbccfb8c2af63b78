package main

import (
	"fmt"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// eventsCmd shows the latest events.
type eventsCmd struct {
	Follow bool `short:"f" help:"Wait for those to come, until Ctrl-C."`
	Count  int  `short:"n" help:"How many of the latest to show." default:"50" placeholder:"50"`
}

// Help is the second half of --help.
func (eventsCmd) Help() string {
	return `Events are changes of state, faults, and what admins ordered. The daemon remembers
the latest; journalctl -u mtlsproxy has them all.`
}

// Run prints them.
func (c *eventsCmd) Run(x *control) error {
	if c.Count < 0 {
		return usageError{fmt.Sprintf("--count: less than none (got %d, want 0 or more)", c.Count)}
	}
	ctx, cancel := x.within()
	if c.Follow {
		cancel()
		ctx, cancel = x.ctx, func() {}
	}
	defer cancel()
	err := x.client.Events(ctx, c.Count, c.Follow, func(e api.Event) error {
		if x.json {
			return x.sayJSON(e)
		}
		return say(x.stdout, x.event(&e))
	}, x.lost("event"))
	if c.Follow {
		return x.followed(err)
	}
	return slow(ctx, err)
}

// event is one event on a line.
func (x *control) event(e *api.Event) string {
	var b strings.Builder
	tone := map[string]text.Tone{"debug": text.Faint, "warn": text.Warn, "error": text.Bad}[e.Level]
	fmt.Fprintf(&b, "%s  %s  %s", e.Time.In(x.clock).Format(stamp), x.page.Paint(tone, text.Pad(text.Safe(e.Level), 5, false)), text.Safe(e.Message))
	for _, a := range e.Attrs {
		b.WriteString(" " + x.page.Paint(text.Faint, text.Safe(a.Key)+"=") + quoted(a.Value))
	}
	return b.String() + "\n"
}

// stamp is a time in the request log and of an event.
const stamp = "2006-01-02 15:04:05.000"

// quoted is a value that can be told from what follows it.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, ` ="`) {
		return fmt.Sprintf("%q", s)
	}
	return text.Safe(s)
}

// lost says how much of a stream this reader was too slow for.
func (x *control) lost(what string) func(uint64) {
	return func(n uint64) {
		if x.json {
			_ = x.sayJSON(api.Lost{Lost: n})
			return
		}
		_ = say(x.stderr, "mtlsproxyctl: "+text.Number(n, what)+" lost here: the daemon does not wait for a slow reader\n")
	}
}

// followed is how a stream without an end ended: by Ctrl-C, or it should not have.
func (x *control) followed(err error) error {
	switch {
	case x.ctx.Err() != nil:
		return nil
	case err == nil:
		return errCutShort
	}
	return err
}

// sayJSON prints a value on one line.
func (x *control) sayJSON(v any) error {
	line, err := lineJSON(v)
	if err != nil {
		return err
	}
	return say(x.stdout, line)
}
