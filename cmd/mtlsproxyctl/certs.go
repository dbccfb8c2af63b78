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

// certsCmd is about identities.
type certsCmd struct {
	Show   certsShowCmd   `cmd:"" default:"withargs" help:"List the identities. This is the default command."`
	Stage  certsStageCmd  `cmd:"" help:"Hand new files of an identity to the daemon, which checks them and keeps them in memory."`
	Probe  certsProbeCmd  `cmd:"" help:"Try a handshake with each endpoint, with what is staged if there is something."`
	Commit certsCommitCmd `cmd:"" help:"Put what is staged in place."`
	Abort  certsAbortCmd  `cmd:"" help:"Forget what is staged."`
}

// certsShowCmd lists the identities.
type certsShowCmd struct {
	watched
	Identity string `arg:"" optional:"" help:"Only this one, with all that is known of it."`
}

// Help is the second half of --help.
func (certsShowCmd) Help() string {
	return `SERIAL is of the certificate that new connections show. ON DISK is the serial in the
file, where that is another one. Connections that still show an earlier one are OLD.
Under the table stands what needs attention, one line for each identity.`
}

// Run prints the identities.
func (c *certsShowCmd) Run(x *control) error {
	question, write := x.client.Identities, x.writeIdentities
	if c.Identity != "" {
		question = oneIdentity(question, c.Identity)
		write = func(w io.Writer, list []api.Identity) error { return x.writeIdentity(w, &list[0]) }
	}
	return repeat(x, c.Watch, question, write)
}

func (x *control) writeIdentities(w io.Writer, list []api.Identity) error {
	if err := x.printTable(w, x.certsTable(list), noIdentities); err != nil {
		return err
	}
	return say(w, x.concerns(list, ""))
}

func (x *control) certsTable(list []api.Identity) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "IDENTITY", Cut: 10}, {Title: "STATE"}, {Title: "SUBJECT", Cut: 12, Drop: 3}, {Title: "ISSUER", Cut: 10, Drop: 6},
		{Title: "SERIAL", Cut: 9}, {Title: "ON DISK", Cut: 9, Maybe: true}, {Title: "EXPIRES", Cut: 9}, {Title: "NOT AFTER", Drop: 5},
		{Title: "GEN", Right: true, Drop: 4}, {Title: "USED", Right: true, Drop: 1}, {Title: "OLD", Right: true}, {Title: "UPSTREAMS", Cut: 9, Drop: 2},
	}}
	for i := range list {
		id := &list[i]
		onDisk := text.Cell{}
		if id.OnDisk != nil {
			onDisk = text.C(id.OnDisk.Serial).In(text.Warn)
		}
		present, old := used(id)
		expires, notAfter := text.Cell{}, text.Cell{}
		if id.Generation > 0 {
			expires, notAfter = x.expiry(id), text.Cell{Text: x.at(id.NotAfter)}
		}
		t.Row(text.C(id.Name), identityState(id), text.C(id.Subject), text.C(id.Issuer), text.C(id.Serial), onDisk, expires, notAfter,
			num(id.Generation), num(present), faults(old), text.C(strings.Join(id.Upstreams, ",")))
	}
	return t
}

// used counts the connections that show what is loaded, and those that show what was
// loaded before.
func used(id *api.Identity) (present int, old uint64) {
	for _, u := range id.InUse {
		if u.Generation == id.Generation {
			present += u.Connections
		} else {
			old += uint64(max(0, u.Connections))
		}
	}
	return present, old
}

func identityState(id *api.Identity) text.Cell {
	c := text.C(id.State)
	switch id.State {
	case api.IdentityOK:
		return c.In(text.Good)
	case api.IdentityExpiring:
		return c.In(text.Warn)
	case "": // an older daemon does not say
		return c
	}
	return c.In(text.Bad)
}

// expiry says how long a certificate that is loaded is still valid.
func (x *control) expiry(id *api.Identity) text.Cell {
	c := x.validity(id.NotBefore, id.NotAfter)
	if id.State == api.IdentityExpiring && c.Tone == text.Good {
		c.Tone = text.Warn
	}
	return c
}

// validity says how long a certificate is still valid.
func (x *control) validity(notBefore, notAfter time.Time) text.Cell {
	now := x.now()
	left := notAfter.Sub(now)
	switch {
	case left <= 0:
		return text.Cell{Text: "expired " + text.Age(-left) + " ago", Tone: text.Bad}
	case notBefore.After(now):
		return text.Cell{Text: "not valid for another " + text.Age(notBefore.Sub(now)), Tone: text.Bad}
	}
	return text.Cell{Text: "in " + text.Age(left), Tone: text.Good}
}

// concerns has one line for each identity that needs attention.
func (x *control) concerns(list []api.Identity, indent string) string {
	var b strings.Builder
	for i := range list {
		id := &list[i]
		if parts := x.concern(id); len(parts) > 0 {
			fmt.Fprintf(&b, "%sidentity %q: %s\n", indent, text.Safe(id.Name), x.page.Paint(identityState(id).Tone, strings.Join(parts, "; ")))
		}
	}
	return b.String()
}

// concern is what needs attention in an identity.
func (x *control) concern(id *api.Identity) []string {
	var parts []string
	switch id.State {
	case api.IdentityExpiring:
		parts = append(parts, "its certificate expires "+x.expiry(id).Text)
	case api.IdentityExpired:
		parts = append(parts, "its certificate "+x.expiry(id).Text+", and nothing is sent with it")
	}
	switch {
	case id.Error != "":
		parts = append(parts, x.fault(id)+": "+text.Safe(id.Error))
	case id.State == api.IdentityFailing || id.State == api.IdentityUnavailable:
		parts = append(parts, x.fault(id))
	}
	if id.OnDisk != nil {
		parts = append(parts, "its certificate file holds "+short(id.OnDisk.Serial)+", which is not loaded")
	}
	if id.Staged != nil {
		parts = append(parts, short(id.Staged.Serial)+" is staged, to be committed or aborted")
	}
	return parts
}

// fault says since when the files of an identity cannot be used, and what that means.
func (x *control) fault(id *api.Identity) string {
	out := "its files cannot be used"
	if id.FailingSince != nil {
		out += " for " + x.ago(*id.FailingSince)
	}
	if id.Generation > 0 {
		return out + ", and " + short(id.Serial) + " stays"
	}
	return out + ", and nothing is loaded"
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
