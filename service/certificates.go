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
	watched := b.tender.Watched()
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
		w.describeUse(&i)
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
	case left < soon && left < life/3:
		return api.IdentityExpiring
	}
	return api.IdentityOK
}

// describeLoaded tells of the generation in use.
func describeLoaded(i *api.Identity, s *identity.State) {
	g := s.Generation
	if g == nil {
		return
	}
	c := apiCertificate(g.Leaf)
	i.Generation, i.Loaded, i.Anchors = g.Number, s.Loaded.UTC(), g.Anchors()
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
func (w *world) describeUse(i *api.Identity) {
	uses := map[*tlsclient.Generation]*api.Use{}
	for _, c := range w.config.Upstreams {
		if c.Identity != i.Name {
			continue
		}
		i.Upstreams = append(i.Upstreams, c.Name)
		for _, g := range w.upstreams[c.Name].client.State().Generations {
			use := uses[g.Generation]
			if use == nil {
				use = &api.Use{Generation: g.Generation.Number, Serial: g.Generation.Serial(), NotAfter: g.Generation.Leaf.NotAfter.UTC()}
				uses[g.Generation] = use
			}
			use.Connections += g.Idle + g.Busy + g.Tunnels
			if until := g.Until.UTC(); !g.Until.IsZero() && (use.Until == nil || use.Until.Before(until)) {
				use.Until = &until
			}
		}
	}
	for _, use := range slices.SortedFunc(maps.Values(uses), func(a, b *api.Use) int { return cmp.Compare(b.Generation, a.Generation) }) {
		if use.Connections > 0 {
			i.InUse = append(i.InUse, *use)
		}
	}
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
