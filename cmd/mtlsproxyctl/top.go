package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/top"
)

// topCmd shows what the daemon does just now.
type topCmd struct {
	Once     bool          `help:"Print one frame as text after one interval, and end."`
	Interval time.Duration `help:"Time that rates and latencies are of." default:"1s" placeholder:"1s"`
}

// Help is the second half of --help.
func (topCmd) Help() string {
	return `It takes the whole terminal; ? there shows its keys. Rates and latencies are of the
last interval, the latter estimated from the buckets of a histogram. A daemon that
goes away ends nothing: it is asked again until it is back. With --json, a value is
printed every interval.`
}

// Run shows it.
func (c *topCmd) Run(x *control) error {
	if c.Interval < shortestEvery {
		return usageError{fmt.Sprintf("--interval: too short (got %v, want %v or longer)", c.Interval, shortestEvery)}
	}
	source := &top.Source{Client: x.client, Now: x.now}
	width, height, onTerminal := x.terminal(x.stdout)
	switch {
	case c.Once || x.json:
		return c.print(x, source)
	case !onTerminal:
		return usageError{"standard output is no terminal; --once prints one frame, --json values"}
	}
	// Before the terminal is taken: whoever may not look, or has no daemon, is told so
	// like anywhere else.
	if _, err := x.reading(source); err != nil {
		return err
	}
	m := &top.Model{
		Source: source, Screen: top.NewScreen(text.Page{Width: width, Color: x.page.Color}, height, x.clock),
		Context: x.ctx, Interval: c.Interval, Timeout: x.timeout, Tick: top.Tick,
		Explain: x.inShort,
	}
	_, err := tea.NewProgram(m, tea.WithContext(x.ctx), tea.WithInput(x.stdin), tea.WithOutput(x.stdout), tea.WithoutSignalHandler()).Run()
	if x.ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}

// inShort is what to say of an error in a line.
func (x *control) inShort(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		err = errTooSlow
	}
	e, _ := x.explain(err)
	return e.Message
}

// print prints frames without taking the terminal.
func (c *topCmd) print(x *control, source *top.Source) error {
	var before *top.Reading
	for {
		now, err := x.reading(source)
		if err != nil {
			return x.unless(c.Once, err)
		}
		if before != nil {
			frame := top.Compare(before, now)
			if err := x.printFrame(frame); err != nil || c.Once {
				return err
			}
		}
		before = now
		if err := x.wait(x.ctx, c.Interval); err != nil {
			return x.unless(c.Once, err)
		}
	}
}

// unless is the end of what Ctrl-C ends: no failure, unless it was to end by itself.
func (x *control) unless(once bool, err error) error {
	if !once && x.ctx.Err() != nil {
		return nil
	}
	return err
}

func (x *control) reading(source *top.Source) (*top.Reading, error) {
	ctx, cancel := x.within()
	defer cancel()
	r, err := source.Read(ctx)
	return r, slow(ctx, err)
}

func (x *control) printFrame(f *top.Frame) error {
	if x.json {
		return x.sayJSON(f)
	}
	return say(x.stdout, top.NewScreen(x.page, 0, x.clock).Draw(f))
}
