package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// reloadCmd makes the daemon load everything again.
type reloadCmd struct{}

// Help is the second half of --help.
func (reloadCmd) Help() string {
	return `It waits for the outcome and prints what has changed. If anything is wrong, nothing
has, and it prints all that is wrong, one line each, and exits with 1. As ExecReload=
of a unit, with --quiet, it prints one line alone: the daemon has logged the others.`
}

// Run reloads.
func (reloadCmd) Run(x *control) error {
	return x.outcome(ask(x, worked(x.client.Reload), func(w io.Writer, r api.Reload) error {
		defer x.note(r.Notes)
		out := fmt.Sprintf("reloaded in %s: ", text.Seconds(r.Seconds))
		if len(r.Changes) == 0 {
			return say(w, out+"nothing has changed\n")
		}
		return say(w, out+text.Number(len(r.Changes), "value")+" changed\n"+x.changes(r.Changes))
	}))
}

// checkCmd is reloadCmd without the change.
type checkCmd struct {
	Diff bool `help:"Print what a reload would change."`
}

// Help is the second half of --help.
func (checkCmd) Help() string {
	return `The daemon loads the configuration and the certificates from disk, as reload does,
and throws them away. It exits with 0 if a reload would work, and with 1 and all
that is wrong if it would not. mtlsproxyd check does so without a daemon.`
}

// Run checks.
func (c *checkCmd) Run(x *control) error {
	return x.outcome(ask(x, worked(x.client.Check), func(w io.Writer, r api.Reload) error {
		defer x.note(r.Notes)
		if len(r.Changes) == 0 {
			return say(w, "ok: a reload would change nothing\n")
		}
		out := "ok: a reload would change " + text.Number(len(r.Changes), "value")
		if !c.Diff {
			return say(w, out+"; --diff shows which\n")
		}
		return say(w, out+"\n"+x.changes(r.Changes))
	}))
}

// note prints what makes no difference though nothing is wrong, beside the outcome, as
// mtlsproxyd check does. With --quiet the daemon's event has to do.
func (x *control) note(notes []string) {
	if x.quiet() {
		return
	}
	for _, n := range notes {
		_ = say(x.stderr, "note: "+text.Safe(n)+"\n")
	}
}

// worked makes an error of an outcome that is one, however it was told.
func worked(question func(context.Context) (api.Reload, error)) func(context.Context) (api.Reload, error) {
	return func(ctx context.Context) (api.Reload, error) {
		r, err := question(ctx)
		if err == nil && !r.OK {
			err = &api.Error{Class: api.Refused, Message: "the configuration cannot be loaded", Details: r.Errors}
		}
		return r, err
	}
}

// outcome prints all that was wrong, each on a line of its own without indent: such
// lines name a file and a line, and tools look for that.
func (x *control) outcome(err error) error {
	e, ok := asRefused(err)
	if !ok || x.json {
		return err
	}
	details := e.Details
	if len(details) == 0 {
		details = []string{e.Message}
	}
	if x.quiet() && x.underSystemd() {
		_ = say(x.stderr, "mtlsproxyctl: nothing has changed: "+text.Number(len(details), "error")+", of which mtlsproxyd has logged each; mtlsproxyctl check shows them again\n")
		return told{exitFailed}
	}
	var b strings.Builder
	for _, d := range details {
		b.WriteString(text.Safe(d) + "\n")
	}
	b.WriteString("mtlsproxyctl: nothing has changed: " + text.Number(len(details), "error") + "\n")
	if e.Hint != "" {
		b.WriteString("hint: " + text.Safe(e.Hint) + "\n")
	}
	_ = say(x.stderr, b.String())
	return told{exitFailed}
}

// underSystemd says whether systemd has started this very process, as ExecReload= of the
// daemon's unit, so that what it prints stands beside the daemon's own events.
func (x *control) underSystemd() bool {
	return x.getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) // systemd.exec(5)
}

// changes lists what differs: key, old -> new, and what becomes of connections.
func (x *control) changes(list []api.Change) string {
	t := &text.Table{Columns: []text.Column{{Title: "KEY", Cut: 20}, {Title: "OLD -> NEW", Cut: 20}, {Title: "EFFECT", Cut: 12, Maybe: true}, {Title: "SOURCE", Cut: 12, Drop: 1, Maybe: true}}}
	for _, c := range list {
		t.Row(text.C(c.Key), text.C(orNone(c.Old)+" -> "+orNone(c.New)), text.C(c.Effect), text.C(c.Source))
	}
	return t.String(x.page)
}

func orNone(v string) string {
	if v == "" {
		return "(none)"
	}
	return v
}
