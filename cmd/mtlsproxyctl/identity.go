package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// writeIdentity prints all that is known of an identity: what is loaded, what is in its
// files, and what its connections show.
func (x *control) writeIdentity(w io.Writer, id *api.Identity) error {
	fields := [][2]string{{"identity", id.Name}, {"state", x.stateInFull(id)}, {"last error", id.Error}}
	if id.Generation > 0 {
		fields = append(fields, x.certificate(&api.Certificate{
			Serial: id.Serial, Subject: id.Subject, Issuer: id.Issuer, SANs: id.SANs, NotBefore: id.NotBefore, NotAfter: id.NotAfter,
		})...)
		fields = append(fields, [2]string{"generation", fmt.Sprintf("%d, loaded %s", id.Generation, x.when(id.Loaded))})
	} else {
		fields = append(fields, [2]string{"generation", "none is loaded"})
	}
	fields = append(fields, [2]string{"on disk", x.onDisk(id)}, [2]string{"staged", x.staged(id.Staged)},
		[2]string{"last good check", x.when(id.Checked)}, [2]string{"last change", x.when(id.Changed)}, [2]string{"watched by", watchedBy(id)},
		[2]string{"upstreams", strings.Join(id.Upstreams, ", ")}, [2]string{"certificate", id.Cert}, [2]string{"key", id.Key},
		[2]string{"PKCS #12", id.PKCS12}, [2]string{"passphrase", id.Passphrase}, [2]string{"trusts", trusts(id)}, [2]string{"revocations", x.revocations(id)})
	out := x.fields(fields)
	if len(id.InUse) > 0 {
		out += "\n" + x.usesTable(id).String(x.page)
	}
	return say(w, out)
}

// stateInFull says what the state of an identity means.
func (x *control) stateInFull(id *api.Identity) string {
	out := id.State
	if id.Error != "" {
		out += ": " + x.fault(id)
		if id.Reason != "" {
			out += " (" + id.Reason + ")"
		}
	}
	return out
}

// certificate is what there is to know of one, as fields.
func (x *control) certificate(c *api.Certificate) [][2]string {
	return [][2]string{
		{"subject", c.Subject}, {"issuer", c.Issuer}, {"serial", c.Serial}, {"names", strings.Join(c.SANs, ", ")},
		{"not before", x.at(c.NotBefore)}, {"not after", x.until(c)},
	}
}

// until says when a certificate ends, and how long that is.
func (x *control) until(c *api.Certificate) string {
	return x.at(c.NotAfter) + " (" + strings.TrimPrefix(x.validity(c.NotBefore, c.NotAfter).Text, "in ") + ")"
}

func (x *control) onDisk(id *api.Identity) string {
	switch c := id.OnDisk; {
	case c != nil:
		return fmt.Sprintf("%s, %s, until %s: not what is loaded", c.Serial, c.Subject, x.until(c))
	case id.Generation > 0 && id.Error == "":
		return "the same"
	}
	return ""
}

func (x *control) staged(s *api.Staged) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%s, %s, until %s; by %s, %s ago", s.Serial, s.Subject, x.until(&s.Certificate), s.By, x.ago(s.Time))
}

// when writes a time, and how long ago it was.
func (x *control) when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return x.at(t) + " (" + x.ago(t) + " ago)"
}

func watchedBy(id *api.Identity) string {
	if id.WatchWhy != "" {
		return id.Watch + ": " + id.WatchWhy
	}
	return id.Watch
}

func trusts(id *api.Identity) string {
	switch id.CA {
	case "":
		return ""
	case "system":
		return "those of the system"
	}
	if id.Generation == 0 {
		return id.CA
	}
	return fmt.Sprintf("%s (%s)", id.CA, text.Number(id.Anchors, "trust anchor"))
}

// usesTable says which generations live connections show.
func (x *control) usesTable(id *api.Identity) *text.Table {
	t := &text.Table{Columns: []text.Column{
		{Title: "GENERATION", Right: true}, {Title: "SERIAL", Cut: 9}, {Title: "CONNECTIONS", Right: true}, {Title: "NOT AFTER", Drop: 1}, {Title: "CLOSED WITHIN", Maybe: true},
	}}
	for _, u := range id.InUse {
		within := text.Cell{}
		if u.Until != nil {
			within = text.Cell{Text: text.Age(u.Until.Sub(x.now())), Tone: text.Warn}
		}
		t.Row(num(u.Generation), text.C(u.Serial), num(u.Connections), text.Cell{Text: x.at(u.NotAfter)}, within)
	}
	return t
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

// revocations names the lists, and until when they are good.
func (x *control) revocations(id *api.Identity) string {
	if id.CRLUntil == nil {
		return id.CRL
	}
	return id.CRL + " (until " + x.at(*id.CRLUntil) + ")"
}
