package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

const noIdentities = "no identities"

// Below this, the time that a certificate is still valid is worth a look.
const soon = 14 * 24 * time.Hour

// certsCmd is about identities.
type certsCmd struct {
	Show certsShowCmd `cmd:"" default:"withargs" help:"List the identities. This is the default command."`
}

// certsShowCmd lists the identities.
type certsShowCmd struct {
	watched
	Identity string `arg:"" optional:"" help:"Only this one, with all that is known of it."`
}

// Run prints the identities.
func (c *certsShowCmd) Run(x *control) error {
	question, write := x.client.Identities, func(w io.Writer, list []api.Identity) error {
		if c.Identity != "" {
			return x.writeIdentity(w, &list[0])
		}
		if err := x.printTable(w, x.certsTable(list), noIdentities); err != nil {
			return err
		}
		for _, i := range list {
			if i.Error != "" {
				if err := say(w, fmt.Sprintf("identity %q: %s\n", i.Name, x.page.Paint(text.Bad, text.Safe(i.Error)))); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if c.Identity != "" {
		question = oneIdentity(question, c.Identity)
	}
	return repeat(x, c.Watch, question, write)
}

func (x *control) certsTable(list []api.Identity) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "IDENTITY", Cut: 10}, {Title: "SUBJECT", Cut: 12}, {Title: "ISSUER", Cut: 10, Drop: 4}, {Title: "SERIAL", Drop: 5, Cut: 10},
		{Title: "EXPIRES", Cut: 9}, {Title: "NOT AFTER", Drop: 1}, {Title: "GEN", Right: true, Drop: 3}, {Title: "UPSTREAMS", Cut: 9, Drop: 2},
	}}
	for i := range list {
		id := &list[i]
		if id.Generation == 0 {
			t.Row(text.C(id.Name), text.Cell{Text: "not loaded", Tone: text.Bad}, text.Cell{}, text.Cell{}, text.Cell{}, text.Cell{}, num(id.Generation), text.C(strings.Join(id.Upstreams, ",")))
			continue
		}
		t.Row(text.C(id.Name), text.C(id.Subject), text.C(id.Issuer), text.C(id.Serial), x.expiry(id), text.Cell{Text: x.at(id.NotAfter)},
			num(id.Generation), text.C(strings.Join(id.Upstreams, ",")))
	}
	return t
}

// expiry says how long a certificate is still valid.
func (x *control) expiry(id *api.Identity) text.Cell {
	now := x.now()
	left := id.NotAfter.Sub(now)
	switch {
	case left <= 0:
		return text.Cell{Text: "expired " + text.Age(-left) + " ago", Tone: text.Bad}
	case id.NotBefore.After(now):
		return text.Cell{Text: "not valid for another " + text.Age(id.NotBefore.Sub(now)), Tone: text.Bad}
	case left < soon:
		return text.Cell{Text: "in " + text.Age(left), Tone: text.Warn}
	}
	return text.Cell{Text: "in " + text.Age(left), Tone: text.Good}
}

func (x *control) writeIdentity(w io.Writer, id *api.Identity) error {
	anchors := fmt.Sprintf("%s (%s)", id.CA, text.Number(id.Anchors, "trust anchor"))
	switch id.CA {
	case "":
		anchors = ""
	case "system":
		anchors = "those of the system"
	}
	fields := [][2]string{
		{"identity", id.Name}, {"error", id.Error}, {"subject", id.Subject}, {"issuer", id.Issuer}, {"serial", id.Serial},
		{"names", strings.Join(id.SANs, ", ")}, {"upstreams", strings.Join(id.Upstreams, ", ")}, {"certificate", id.Cert}, {"key", id.Key},
		{"trusts", anchors}, {"revocations", id.CRL},
	}
	if id.Generation > 0 {
		fields = append(fields, [2]string{"not before", x.at(id.NotBefore)},
			[2]string{"not after", x.at(id.NotAfter) + " (" + strings.TrimPrefix(x.expiry(id).Text, "in ") + ")"},
			[2]string{"generation", fmt.Sprintf("%d, loaded %s (%s ago)", id.Generation, x.at(id.Loaded), x.ago(id.Loaded))})
	} else {
		fields = append(fields, [2]string{"generation", "none is loaded"})
	}
	return say(w, x.fields(fields))
}

// fields prints names and values under each other, but for those without a value.
func (x *control) fields(list [][2]string) string {
	widest := 0
	for _, f := range list {
		if f[1] != "" {
			widest = max(widest, len(f[0]))
		}
	}
	var b strings.Builder
	for _, f := range list {
		if f[1] != "" {
			b.WriteString(x.page.Paint(text.Faint, text.Pad(f[0], widest, false)) + "  " + text.Safe(f[1]) + "\n")
		}
	}
	return b.String()
}

// oneIdentity narrows a question to one identity.
func oneIdentity(question func(context.Context) ([]api.Identity, error), name string) func(context.Context) ([]api.Identity, error) {
	return func(ctx context.Context) ([]api.Identity, error) {
		list, err := question(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range list {
			if id.Name == name {
				return []api.Identity{id}, nil
			}
		}
		return nil, &api.Error{Class: api.NotFound, Message: fmt.Sprintf("there is no identity %q", name), Hint: "mtlsproxyctl certs lists them"}
	}
}
