package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// certsProbeCmd tries handshakes.
type certsProbeCmd struct {
	Name string `arg:"" name:"identity|upstream" help:"An identity, for the endpoints of all its upstreams, or one upstream."`
}

// Help is the second half of --help.
func (certsProbeCmd) Help() string {
	return `The daemon makes a handshake with each endpoint, with what is staged for the identity
or else with what is in use, and says who the server is, whether it asked for a
certificate and takes ours, and what was agreed. Exchanges are not touched, and no
request is sent: a server that refuses certificates only in its answers is not found
out, but doubtful if it accepts other CAs than ours. It exits with 1 if any endpoint
fails or is doubtful.`
}

// Run probes.
func (c *certsProbeCmd) Run(x *control) error {
	ok := false
	question := func(ctx context.Context) (api.Probed, error) {
		p, err := x.client.Probe(ctx, c.Name)
		ok = p.OK
		return p, err
	}
	err := ask(x, question, x.writeProbed)
	if err == nil && !ok {
		return told{exitFailed}
	}
	return err
}

func (x *control) writeProbed(w io.Writer, p api.Probed) error {
	which := "the certificate in use"
	if p.Using == api.ProbedStaged {
		which = "the staged certificate"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s of identity %q, %s\n", which, text.Safe(p.Identity), text.Safe(p.Serial))
	failed, doubtful := 0, 0
	for i := range p.Endpoints {
		e := &p.Endpoints[i]
		switch {
		case e.Class == api.ProbeDoubtful:
			doubtful++
		case !e.OK:
			failed++
		}
		b.WriteString("\n" + x.verdict(e) + "  " + text.Safe(e.Upstream+"/"+e.Endpoint) + "\n" + x.findings(e))
	}
	switch n := len(p.Endpoints); {
	case n == 0:
		b.WriteString("\nthere is no endpoint to try it with\n")
	case failed == 0 && doubtful > 0:
		fmt.Fprintf(&b, "\n%s\n", x.page.Paint(text.Warn, fmt.Sprintf("doubtful: %d of %s", doubtful, text.Number(n, "endpoint"))))
	case failed == 0:
		fmt.Fprintf(&b, "\n%s\n", x.page.Paint(text.Good, "ok: "+text.Number(n, "endpoint")))
	default:
		fmt.Fprintf(&b, "\n%s\n", x.page.Paint(text.Bad, fmt.Sprintf("failed: %d of %s", failed, text.Number(n, "endpoint"))))
	}
	return say(w, b.String())
}

func (x *control) verdict(e *api.ProbedEndpoint) string {
	switch {
	case e.OK:
		return x.page.Paint(text.Good, "ok")
	case e.Class == "":
		return x.page.Paint(text.Bad, "failed")
	case e.Class == api.ProbeDoubtful:
		return x.page.Paint(text.Warn, api.ProbeDoubtful)
	}
	return x.page.Paint(text.Bad, text.Safe(e.Class))
}

// finding is one thing that a probe found out; a list has a line for each value.
type finding struct {
	name   string
	values []string
	list   bool
	tone   text.Tone
}

// findings are what a probe of an endpoint has found out, with what matters most first.
func (x *control) findings(e *api.ProbedEndpoint) string {
	list := []finding{{name: "error", values: one(e.Error), tone: text.Bad}, x.chain(e.Chain)}
	if e.Class == api.ProbeDoubtful {
		list[0].name, list[0].tone = "doubt", text.Warn
	}
	if e.TLSVersion != "" || e.Asked { // it came that far
		list = append(list, asked(e), accepts(e.Accepts))
	}
	if e.TLSVersion != "" {
		list = append(list, finding{name: "protocol", values: one(protocol(e))})
	}
	if e.OK { // or else a second connection was not tried
		resumed := finding{name: "resumption", values: one("a second connection resumed the session")}
		if !e.Resumed {
			resumed = finding{name: "resumption", values: one("none: each connection costs a whole handshake"), tone: text.Warn}
		}
		list = append(list, resumed)
	}
	list = append(list, finding{name: "address", values: one(e.Address)}, finding{name: "time", values: one(times(e))})
	widest := 0
	for _, f := range list {
		if len(f.values) > 0 {
			widest = max(widest, len(f.name))
		}
	}
	var b strings.Builder
	for _, f := range list {
		name := f.name
		for _, v := range f.values {
			if v = text.Safe(v); f.list && x.page.Width > 0 {
				v = text.Cut(v, max(1, x.page.Width-widest-4))
			}
			b.WriteString("  " + x.page.Paint(text.Faint, text.Pad(name, widest, false)) + "  " + x.page.Paint(f.tone, v) + "\n")
			name = ""
		}
	}
	return b.String()
}

// one is a finding's only value, unless it has none.
func one(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}

// chain lists certificates as the server sent them. When each ends comes first: names
// may be long.
func (x *control) chain(list []api.Certificate) finding {
	f := finding{name: "chain", list: true}
	for i := range list {
		c := &list[i]
		f.values = append(f.values, x.until(c)+"  "+c.Subject)
		if x.validity(c.NotBefore, c.NotAfter).Tone == text.Bad {
			f.tone = text.Bad
		}
	}
	return f
}

func asked(e *api.ProbedEndpoint) finding {
	f := finding{name: "client"}
	switch {
	case !e.Asked:
		f.values, f.tone = one("it did not ask for a certificate, and was shown none"), text.Warn
	case len(e.Accepts) == 0:
		f.values = one("it asked for a certificate, of any CA")
	case e.Accepted:
		f.values = one("it asked for a certificate; ours is of a CA that it accepts")
	default:
		f.values, f.tone = one("it asked for a certificate; ours is of none of the CAs that it accepts"), text.Bad
	}
	return f
}

// mostAccepted is how many CAs are listed; some servers name all that their system has.
const mostAccepted = 8

func accepts(list []string) finding {
	f := finding{name: "accepts", values: list, list: true}
	if n := len(list); n > mostAccepted {
		f.values = append(append([]string{}, list[:mostAccepted]...), fmt.Sprintf("and %d more, which --json lists", n-mostAccepted))
	}
	return f
}

func protocol(e *api.ProbedEndpoint) string {
	out := "TLS " + e.TLSVersion
	if e.Cipher != "" {
		out += ", " + e.Cipher
	}
	if e.ALPN == "" {
		return out + ", no ALPN"
	}
	return out + ", ALPN " + e.ALPN
}

func times(e *api.ProbedEndpoint) string {
	var parts []string
	if e.ConnectSeconds > 0 {
		parts = append(parts, "connect "+text.Seconds(e.ConnectSeconds))
	}
	if e.HandshakeSeconds > 0 {
		parts = append(parts, "handshake "+text.Seconds(e.HandshakeSeconds))
	}
	return strings.Join(parts, ", ")
}
