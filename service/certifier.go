package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// Stage implements admin.Certifier.
func (b backend) Stage(_ context.Context, s api.Stage, by string) (api.Staged, error) {
	m, err := b.member(s.Identity)
	if err != nil {
		return api.Staged{}, err
	}
	parts := identity.Parts{Cert: bytes.Clone(s.Cert), Key: bytes.Clone(s.Key), CA: bytes.Clone(s.CA), PKCS12: bytes.Clone(s.PKCS12)}
	staged, err := m.Stage(parts, by, time.Now())
	if err != nil {
		parts.Clear()
		return api.Staged{}, refused(fmt.Errorf("what was handed in cannot take the place of the files: %w", err), "nothing has changed")
	}
	if now, err := b.member(s.Identity); err != nil || now.Identity != m.Identity {
		_ = m.Unstage() // nobody would come to do it
		return api.Staged{}, refused(fmt.Errorf("a reload has changed identity %q meanwhile", s.Identity), "stage it again")
	}
	return apiStaged(s.Identity, staged), nil
}

// Abort implements admin.Certifier. It comes in turn with commits: there is none of what
// it says is dropped.
func (b backend) Abort(name string) (api.Changed, error) {
	var err error
	done, late := b.begin(context.Background(), func() { err = b.abort(name) })
	if late != nil {
		return api.Changed{}, late
	}
	if <-done; err != nil {
		return api.Changed{}, err
	}
	return api.Changed{Message: fmt.Sprintf("what was staged for identity %q is dropped", name), Targets: []string{}}, nil
}

func (b backend) abort(name string) error {
	m, err := b.member(name)
	if err != nil {
		return err
	}
	if err := m.Unstage(); err != nil {
		return refused(err, "mtlsproxyctl certs stage hands something in")
	}
	return nil
}

// Commit implements admin.Certifier. What has begun comes to its end, even if the daemon
// is ending by then.
func (b backend) Commit(ctx context.Context, name, _ string) (api.Committed, error) {
	var out api.Committed
	var err error
	done, late := b.begin(ctx, func() { out, err = b.commit(name) })
	if late != nil {
		return out, late
	}
	select {
	case <-done:
		return out, err
	case <-ctx.Done():
		return api.Committed{}, ctx.Err()
	}
}

func (b backend) commit(name string) (api.Committed, error) {
	m, err := b.member(name)
	if err != nil {
		return api.Committed{}, err
	}
	found, files, err := m.Commit(time.Now())
	switch {
	case errors.Is(err, identity.ErrNothingStaged):
		return api.Committed{}, refused(err, "mtlsproxyctl certs stage hands something in")
	case err != nil:
		return api.Committed{}, refused(err, copyHint(files, err))
	}
	b.take(b.world.Load(), m, found)
	if b.Notify != nil {
		b.Notify.Status(b.summary())
	}
	g := m.Generation()
	return api.Committed{
		Identity: name, Certificate: apiCertificate(g.Leaf), Generation: g.Number, Files: files,
		Message: fmt.Sprintf("identity %q shows serial %s from now on", name, g.Serial()),
	}, nil
}

// copyHint says how to do by hand what the daemon may not.
func copyHint(paths []string, err error) string {
	if errors.Is(err, identity.ErrNotUndone) {
		return "look at the files that are named before anything else, and at what mtlsproxyctl certs says of them; what was staged stays staged"
	}
	if len(paths) == 0 {
		return "nothing has changed, and it stays staged"
	}
	return "nothing has changed, and it stays staged; if the daemon may not write there, as under ProtectSystem=strict without ReadWritePaths=, copy the files yourself, " +
		"each beside its place with owner and mode, then mv: " + strings.Join(paths, ", then ") + "; they are noticed, and certs abort drops what is staged"
}

func (b backend) member(name string) (*member, error) {
	if m := b.world.Load().identities[name]; m != nil {
		return m, nil
	}
	return nil, &api.Error{Class: api.NotFound, Message: fmt.Sprintf("there is no identity %q", name), Hint: "mtlsproxyctl certs lists them"}
}

func refused(err error, hint string) error {
	return &api.Error{Class: api.Refused, Message: strings.Join(Lines(err), "; "), Hint: hint}
}

// Probe implements admin.Certifier.
func (b backend) Probe(ctx context.Context, name string) (api.Probed, error) {
	w := b.world.Load()
	out := api.Probed{Name: name, Identity: name, OK: true, Endpoints: []api.ProbedEndpoint{}}
	var upstreams []*upstream
	if u := w.upstreams[name]; u != nil && w.identities[name] == nil {
		out.Identity = u.config.Identity
		upstreams = append(upstreams, u)
	}
	m, err := b.member(out.Identity)
	if err != nil {
		return out, &api.Error{Class: api.NotFound, Message: fmt.Sprintf("there is neither an identity nor an upstream %q", name), Hint: "mtlsproxyctl certs and mtlsproxyctl upstreams list them"}
	}
	if upstreams == nil {
		for _, c := range w.config.Upstreams {
			if c.Identity == name {
				upstreams = append(upstreams, w.upstreams[c.Name])
			}
		}
	}
	g := m.Generation()
	out.Using = api.ProbedInUse
	if s := m.State().Staged; s != nil {
		g, out.Using = s.Generation, api.ProbedStaged
	}
	if g == nil {
		return out, refused(fmt.Errorf("identity %q has nothing to show: %w", out.Identity, m.State().Err), "stage a certificate, or put one in place")
	}
	out.Serial = g.Serial()
	found := make([][]tlsclient.Probe, len(upstreams))
	var probing sync.WaitGroup
	for i, u := range upstreams {
		probing.Go(func() { found[i] = u.client.Probe(ctx, g) })
	}
	probing.Wait()
	for i, u := range upstreams {
		for _, p := range found[i] {
			out.Endpoints = append(out.Endpoints, apiProbed(u.config.Name, &p))
			out.OK = out.OK && p.Err == nil
		}
	}
	return out, nil
}

func apiProbed(upstream string, p *tlsclient.Probe) api.ProbedEndpoint {
	e := api.ProbedEndpoint{
		Upstream: upstream, Endpoint: p.Endpoint, OK: p.Err == nil, Class: string(p.Class),
		ConnectSeconds: p.Connect.Seconds(), HandshakeSeconds: p.Handshake.Seconds(), ALPN: p.ALPN,
		Chain: []api.Certificate{}, Asked: p.Asked, Accepts: filled(p.Accepts), Accepted: p.Accepted, Resumed: p.Resumed,
	}
	if p.Address.IsValid() {
		e.Address = p.Address.String()
	}
	if p.Err != nil {
		e.Error = p.Err.Error()
	}
	if p.Version != 0 {
		e.TLSVersion = strings.TrimPrefix(tls.VersionName(p.Version), "TLS ")
		e.Cipher = tls.CipherSuiteName(p.Cipher)
	}
	for _, c := range p.Chain {
		e.Chain = append(e.Chain, apiCertificate(c))
	}
	return e
}
