package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// statusCmd answers the operator's first question.
type statusCmd struct {
	watched
}

// Help is the second half of --help.
func (statusCmd) Help() string {
	return `What is wrong comes first, if anything is. It exits with 0 if the daemon serves, also
if that is degraded (not everybody, or not for long), and with 1 if it is failing.

  mtlsproxyctl status --watch=5s
  mtlsproxyctl status --json | jq .health.reasons`
}

// Run prints the status.
func (c *statusCmd) Run(x *control) error {
	state := ""
	question := func(ctx context.Context) (api.Status, error) {
		s, err := x.client.Status(ctx)
		if state = s.Health.State; err == nil && s.API != apiVersion {
			err = fmt.Errorf("its status is of API %q", s.API)
		}
		return s, err
	}
	err := repeat(x, c.Watch, question, func(w io.Writer, s api.Status) error { return x.writeStatus(w, &s) })
	if err == nil && c.Watch == 0 && state == api.Failing {
		return told{exitFailed}
	}
	return err
}

func (x *control) writeStatus(w io.Writer, s *api.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "mtlsproxyd %s: %s, %s for %s (since %s, pid %d)\n", text.Safe(s.Version.Version),
		x.page.Paint(healthTone(s.Health.State), text.Safe(s.Health.State)), text.Safe(s.Phase), x.ago(s.Since), x.at(s.Since), s.PID)
	fmt.Fprintf(&b, "%s open, %d in flight; %s since the start, %s\n", text.Number(s.Connections, "connection"), s.InFlight,
		text.Number(s.Requests, "request"), text.Number(s.Errors, "error"))
	if !s.Health.Ready {
		b.WriteString(x.page.Paint(text.Bad, "It is not ready for requests.") + "\n")
	}
	x.section(&b, "What is wrong", x.reasons(s.Health.Reasons))
	x.section(&b, "Not in use", indented(s.Notes, "  "))
	x.section(&b, "Listeners", x.table(listeners(s.Listeners), "none: nobody can connect"))
	x.section(&b, "Routes", x.table(x.routesTable(s.Routes), noRoutes))
	x.section(&b, "Upstreams", x.table(upstreamsTable(s.Upstreams), noUpstreams))
	x.section(&b, "Certificates", x.table(x.certsTable(s.Identities), noIdentities)+x.concerns(s.Identities, "  "))
	x.section(&b, "Configuration", x.configuration(&s.Config))
	x.section(&b, "Request log", x.logState(&s.Log))
	return say(w, b.String())
}

func healthTone(state string) text.Tone {
	switch state {
	case api.Healthy:
		return text.Good
	case api.Degraded:
		return text.Warn
	}
	return text.Bad
}

// section prints a title and lines under it, if there are any.
func (x *control) section(b *strings.Builder, title, body string) {
	if body != "" {
		b.WriteString("\n" + x.page.Paint(text.Strong, title) + "\n" + body)
	}
}

// table is a table within a section.
func (x *control) table(t *text.Table, none string) string {
	if len(t.Rows) == 0 {
		return "  " + none + "\n"
	}
	p := x.page
	if p.Width > 0 {
		p.Width -= 2
	}
	return "  " + strings.ReplaceAll(strings.TrimSuffix(t.String(p), "\n"), "\n", "\n  ") + "\n"
}

func (x *control) reasons(list []api.Reason) string {
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "  %s  %s: %s\n", x.page.Paint(healthTone(r.State), text.Pad(text.Safe(r.State), 8, false)), text.Safe(r.Subject), text.Safe(r.Message))
		if r.Hint != "" {
			fmt.Fprintf(&b, "            hint: %s\n", text.Safe(r.Hint))
		}
	}
	return b.String()
}

func listeners(list []api.Listener) *text.Table {
	t := &text.Table{Columns: []text.Column{{Title: "LISTENER"}, {Title: "ADDRESS", Cut: 16}, {Title: "CONNECTIONS", Right: true}, {Title: "ACCEPTED", Right: true, Drop: 1}}}
	for _, l := range list {
		t.Row(text.C(l.Name), text.C(l.Address), num(l.Connections), num(l.Accepted))
	}
	return t
}

// configuration says what runs, and whether a reload would change it.
func (x *control) configuration(c *api.Config) string {
	file := c.File
	if file == "" {
		file = "no file"
	}
	out := fmt.Sprintf("  %s, loaded %s ago (%s); %s, %d failed\n", text.Safe(file), x.ago(c.Loaded), x.at(c.Loaded), text.Number(c.Reloads, "reload"), c.Failed)
	digests := fmt.Sprintf("running %s", short(c.Running))
	if c.OnDisk != "" {
		digests += ", on disk " + short(c.OnDisk)
	}
	switch {
	case c.Error != "":
		out += "  " + digests + ": " + x.page.Paint(text.Bad, "what is on disk cannot be loaded") + ": " + text.Safe(c.Error) + "\n" +
			"  mtlsproxyctl check prints all that is wrong with it\n"
	case c.Differs:
		out += "  " + digests + ": " + x.page.Paint(text.Warn, "they differ") + "; mtlsproxyctl check --diff shows how, mtlsproxyctl reload loads it\n"
	default:
		out += "  " + digests + ": the same\n"
	}
	if last := c.LastReload; last != nil && !last.OK {
		out += fmt.Sprintf("  %s %s ago, by %s\n", x.page.Paint(text.Bad, "the last reload failed"), x.ago(last.Time), text.Safe(last.By)) + indented(last.Errors, "    ")
	}
	return out
}

// short is the beginning of a digest or a serial, enough to tell two apart.
func short(digest string) string {
	digest = text.Safe(digest)
	if len(digest) > 12 {
		return digest[:12]
	}
	return digest
}

func (x *control) logState(s *api.LogStats) string {
	if !s.Enabled {
		return "  off\n"
	}
	out := "  " + x.logSize(s)
	if s.Error != "" {
		out += "  " + x.page.Paint(text.Bad, "cannot be written") + ": " + text.Safe(s.Error) + "\n"
	}
	return out
}

// logSize says how much the request log holds.
func (x *control) logSize(s *api.LogStats) string {
	out := fmt.Sprintf("%s in %s of %s", text.Number(s.Records, "record"), text.Bytes(s.Bytes), text.Bytes(s.MaxBytes))
	if s.Oldest != nil {
		out += ", the oldest of " + x.at(*s.Oldest)
	}
	if s.Dropped > 0 {
		out += "; " + x.page.Paint(text.Warn, fmt.Sprintf("%d dropped since the start", s.Dropped))
	}
	if n := len(s.Quarantined); n > 0 {
		out += "; " + x.page.Paint(text.Warn, text.Number(n, "damaged segment")+" put aside")
	}
	return out + "\n"
}
