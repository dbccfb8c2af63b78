package service

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/service/watch"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// soon is how long before its end a certificate is a matter for the operator, if it
// lives long enough for that to mean anything.
const soon = 7 * 24 * time.Hour

// Identities implements admin.Viewer.
func (b backend) Identities() []api.Identity {
	w, now := b.world.Load(), time.Now()
	watched, showing := b.tender.Watched(), b.showing(w)
	out := []api.Identity{}
	for _, c := range w.config.Identities {
		m := w.identities[c.Name]
		state := m.State()
		i := api.Identity{
			Name: c.Name, Cert: c.Cert, Key: c.Key, PKCS12: c.PKCS12, Passphrase: c.Passphrase, CA: c.CA, CRL: c.CRL,
			Checked: state.Checked.UTC(), Changed: state.Changed.UTC(), SANs: []string{}, Upstreams: []string{}, InUse: []api.Use{},
		}
		if c.SystemCA {
			i.CA = "system"
		}
		i.State = identityState(&state, now)
		describeLoaded(&i, &state)
		describeFiles(&i, &state)
		i.Watch, i.WatchWhy = watchedBy(watched, m.Files())
		if s := state.Staged; s != nil {
			staged := apiStaged(c.Name, s)
			i.Staged = &staged
		}
		w.describeUse(&i, showing[c.Name])
		out = append(out, i)
	}
	return out
}

func identityState(s *identity.State, now time.Time) string {
	if s.Generation == nil {
		return api.IdentityUnavailable
	}
	leaf := s.Generation.Leaf
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case left < 0:
		return api.IdentityExpired
	case s.Err != nil:
		return api.IdentityFailing
	case expiring(left, life):
		return api.IdentityExpiring
	}
	return api.IdentityOK
}

// expiring reports whether a certificate that lives for life is not long from its end.
func expiring(left, life time.Duration) bool { return left < soon && left < life/3 }

// describeLoaded tells of the generation in use.
func describeLoaded(i *api.Identity, s *identity.State) {
	g := s.Generation
	if g == nil {
		return
	}
	c := apiCertificate(g.Leaf)
	i.Generation, i.Loaded, i.Anchors = g.Number, s.Loaded.UTC(), g.Anchors()
	if until := g.CRLUntil().UTC(); !g.CRLUntil().IsZero() {
		i.CRLUntil = &until
	}
	i.Subject, i.Issuer, i.Serial, i.SANs, i.NotBefore, i.NotAfter = c.Subject, c.Issuer, c.Serial, c.SANs, c.NotBefore, c.NotAfter
}

// describeFiles tells of what is on disk, if that is not what is in use.
func describeFiles(i *api.Identity, s *identity.State) {
	if s.Err != nil {
		since := s.Since.UTC()
		i.Reason, i.Error, i.FailingSince = string(tlsclient.ReasonOf(s.Err)), strings.Join(Lines(s.Err), "; "), &since
	}
	if s.Disk != nil && (s.Generation == nil || !bytes.Equal(s.Disk.Raw, s.Generation.Leaf.Raw)) {
		c := apiCertificate(s.Disk)
		i.OnDisk = &c
	}
}

// describeUse tells of the upstreams that have the identity, and of what their
// connections show.
func (w *world) describeUse(i *api.Identity, showing []tlsclient.GenerationState) {
	for _, c := range w.config.Upstreams {
		if c.Identity == i.Name {
			i.Upstreams = append(i.Upstreams, c.Name)
		}
	}
	uses := map[*tlsclient.Generation]*api.Use{}
	for _, g := range showing {
		use := uses[g.Generation]
		if use == nil {
			use = &api.Use{Generation: g.Generation.Number, Serial: g.Generation.Serial(), NotAfter: g.Generation.Leaf.NotAfter.UTC()}
			uses[g.Generation] = use
		}
		use.Connections += g.Idle + g.Busy + g.Tunnels
		if until := lastUntil(&g); !until.IsZero() && (use.Until == nil || use.Until.Before(until)) {
			use.Until = &until
		}
	}
	for _, use := range slices.SortedFunc(maps.Values(uses), func(a, b *api.Use) int { return cmp.Compare(b.Generation, a.Generation) }) {
		if use.Connections > 0 {
			i.InUse = append(i.InUse, *use)
		}
	}
}

// lastUntil is when the last connection of an earlier generation is closed at the latest,
// or zero: tunnels stay as long as their certificate, and others until the retire
// deadline, which nothing waits for if none is busy.
func lastUntil(g *tlsclient.GenerationState) time.Time {
	switch {
	case g.Until.IsZero():
		return time.Time{}
	case g.Tunnels > 0:
		return g.Generation.Leaf.NotAfter.UTC()
	case g.Busy > 0:
		return g.Until.UTC()
	}
	return time.Time{}
}

// watchedBy is how changes of files are noticed: by the slowest of the ways.
func watchedBy(s watch.State, files []string) (how, why string) {
	how = api.WatchInotify
	for _, p := range s.Paths {
		if p.How == watch.Polling && slices.Contains(files, p.Path) {
			how, why = api.WatchPolling, p.Why
		}
	}
	return how, why
}

func apiCertificate(c *x509.Certificate) api.Certificate {
	return api.Certificate{
		Serial: fmt.Sprintf("%x", c.SerialNumber), Subject: c.Subject.String(), Issuer: c.Issuer.String(), SANs: sans(c),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
	}
}

func apiStaged(name string, s *identity.Staged) api.Staged {
	return api.Staged{Identity: name, Certificate: apiCertificate(s.Generation.Leaf), Anchors: s.Generation.Anchors(), Time: s.Time.UTC(), By: s.By}
}
