package tlsclient_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// probe probes the one endpoint of f.
func (f *fixture) probe(t *testing.T, g *tlsclient.Generation) tlsclient.Probe {
	t.Helper()
	all := f.upstream.Probe(t.Context(), g)
	if len(all) != 1 || all[0].Endpoint != f.server.Addr {
		t.Fatalf("%+v, want one of %s", all, f.server.Addr)
	}
	return all[0]
}

func TestProbeTellsWhatTheServerShowsAndAsksFor(t *testing.T) {
	for _, version := range versions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true, Name: "Root, of trust"})
			id := ca.Server(t)
			f := startServer(t, tlstest.ServerOptions{CA: ca, Identity: id, Version: version,
				Adjust: func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }})
			p := f.probe(t, f.generation(t, 2))
			if p.Class != "" || p.Err != nil || p.Address.String() != f.server.Addr || p.Connect <= 0 || p.Handshake <= 0 {
				t.Errorf("%+v", p)
			}
			if p.Version != version || p.Cipher == 0 || p.ALPN != "http/1.1" || !p.Resumed {
				t.Errorf("%+v", p)
			}
			if len(p.Chain) != 2 || !p.Chain[0].Equal(id.Leaf) || !p.Chain[1].Equal(ca.Intermediate) {
				t.Errorf("the server showed %v", p.Chain)
			}
			if !p.Asked || !p.Accepted || !slices.Equal(p.Accepts, []string{`CN=Root\, of trust`}) {
				t.Errorf("asked %v for certificates of %q, accepted %v", p.Asked, p.Accepts, p.Accepted)
			}
		})
	}
}

func TestProbeLeavesNoTrace(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	f.server.Reject(f.upstream.Generation().Serial(), tlstest.Alert)
	f.upstream.Drain("")
	before := f.upstream.State()
	f.probe(t, f.upstream.Generation())
	after := f.upstream.State()
	if after.Opened != 0 || after.Open != 0 || after.Endpoints[0].Failures != 0 || after.Endpoints[0].Down != before.Endpoints[0].Down {
		t.Errorf("%+v", after)
	}
	if s := f.server.Stats(); s.Requests != 0 {
		t.Errorf("the server saw %d requests", s.Requests)
	}
	f.server.Wait(t, "its connections to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestProbeSeesThatTheCertificateIsRefused(t *testing.T) {
	for _, version := range versions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := startServer(t, tlstest.ServerOptions{Version: version})
			g := f.generation(t, 2)
			f.server.Reject(g.Serial(), tlstest.Alert)
			p := f.probe(t, g)
			if p.Class != tlsclient.ClientCertRejected || p.Err == nil || !p.Asked || !p.Accepted || len(p.Chain) == 0 || p.Resumed {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestProbeSeesThatTheServerTakesOtherAuthorities(t *testing.T) {
	other := tlstest.NewCA(t, tlstest.CAOptions{Name: "another"})
	f := startServer(t, tlstest.ServerOptions{ClientCAs: other.Pool()})
	p := f.probe(t, f.upstream.Generation())
	if p.Class != tlsclient.ClientCertRejected || !p.Asked || p.Accepted || !slices.Equal(p.Accepts, []string{"CN=another"}) {
		t.Errorf("%+v", p)
	}
}

func TestProbeSeesThatAnyAuthorityIsTaken(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{Adjust: func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAnyClientCert, nil
	}})
	if p := f.probe(t, f.upstream.Generation()); p.Class != "" || !p.Asked || !p.Accepted || len(p.Accepts) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestProbeSeesThatNoCertificateIsAskedFor(t *testing.T) {
	for _, version := range versions {
		f := startServer(t, tlstest.ServerOptions{Version: version, Adjust: func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }})
		if p := f.probe(t, f.upstream.Generation()); p.Class != "" || p.Asked || p.Accepted || len(p.Chain) != 1 {
			t.Errorf("%s: %+v", tls.VersionName(version), p)
		}
	}
}

func TestProbeTellsWhatWasRefusedByThisEnd(t *testing.T) {
	stranger := tlstest.NewCA(t, tlstest.CAOptions{})
	id := stranger.Server(t)
	for _, version := range versions {
		f := startServer(t, tlstest.ServerOptions{Version: version, Identity: id})
		p := f.probe(t, f.upstream.Generation())
		if p.Class != tlsclient.TLSVerifyFailed || len(p.Chain) != 1 || !p.Chain[0].Equal(id.Leaf) || p.Asked {
			t.Errorf("%s: %+v", tls.VersionName(version), p)
		}
	}
}

func TestProbeVerifiesThePins(t *testing.T) {
	f := start(t, nil, func(o *tlsclient.Options) { o.Pins = []tlsclient.Pin{{URI: "spiffe://corp/billing"}} })
	if p := f.probe(t, f.upstream.Generation()); p.Class != tlsclient.TLSVerifyFailed || len(p.Chain) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestProbeOfAServerWithoutTickets(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{Adjust: func(c *tls.Config) { c.SessionTicketsDisabled = true }})
	if p := f.probe(t, f.upstream.Generation()); p.Class != "" || p.Resumed {
		t.Errorf("%+v", p)
	}
	if s := f.server.Stats(); s.Accepted != 1 {
		t.Errorf("%d connections though nothing could be resumed", s.Accepted)
	}
}

func TestProbeOfAServerThatJustHangsUp(t *testing.T) {
	for _, end := range []tlstest.End{tlstest.CloseNotify, tlstest.TCPClose, tlstest.Reset} {
		f := startServer(t, tlstest.ServerOptions{
			Version: tls.VersionTLS13, Script: tlstest.CloseAtOnce(end),
			Adjust: func(c *tls.Config) { c.SessionTicketsDisabled = true },
		})
		if p := f.probe(t, f.upstream.Generation()); p.Class != tlsclient.UpstreamReset || p.Err == nil || p.Version != tls.VersionTLS13 {
			t.Errorf("end %d: %+v", end, p)
		}
	}
}

func TestProbeOfSeveralEndpoints(t *testing.T) {
	f, second := two(t, func(o *tlsclient.Options) { o.Endpoints = append(o.Endpoints, options("127.0.0.1:1").Endpoints...) })
	all := f.upstream.Probe(t.Context(), f.upstream.Generation())
	if len(all) != 3 {
		t.Fatalf("%+v", all)
	}
	for i, want := range []struct {
		endpoint string
		class    tlsclient.Class
	}{{f.server.Addr, ""}, {"127.0.0.1:1", tlsclient.ConnectFailed}, {second.Addr, ""}} {
		if all[i].Endpoint != want.endpoint || all[i].Class != want.class || (all[i].Err != nil) != (want.class != "") {
			t.Errorf("number %d: %+v, want %+v", i, all[i], want)
		}
	}
}

func TestExpiredCertificateIsNotShownByAProbe(t *testing.T) {
	f := start(t, nil)
	id := f.ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(-time.Hour)})
	g, err := identity(id.WriteFiles(t, "", f.ca)).Load(2, id.Leaf.NotAfter.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if p := f.probe(t, g); p.Class != tlsclient.IdentityExpired || p.Err == nil {
		t.Errorf("%+v", p)
	}
	if s := f.server.Stats(); s.Accepted != 0 {
		t.Errorf("%d connections, want none", s.Accepted)
	}
}

func TestProbeWithoutAGenerationSaysWhy(t *testing.T) {
	u := tlsclient.NewUpstream(options("127.0.0.1:1"))
	defer u.Close()
	u.Lack(tlsclient.IdentityExpired, errors.New("put a new certificate in its place"))
	if p := u.Probe(t.Context(), u.Generation()); p[0].Class != tlsclient.IdentityExpired || !strings.Contains(p[0].Err.Error(), "put a new") {
		t.Errorf("%+v", p)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{BeforeHandshake: tlstest.Stall}, func(o *tlsclient.Options) { o.HandshakeTimeout = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan []tlsclient.Probe)
	go func() { done <- f.upstream.Probe(ctx, f.upstream.Generation()) }()
	f.server.Wait(t, "the connection", func(s tlstest.Stats) bool { return s.Accepted == 1 })
	cancel()
	if p := (<-done)[0]; p.Class != tlsclient.ClientGone || p.Err == nil {
		t.Errorf("%+v", p)
	}
}

func TestProbeIsBoundByTheHandshakeTimeout(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{BeforeHandshake: tlstest.Stall}, func(o *tlsclient.Options) { o.HandshakeTimeout = 50 * time.Millisecond })
	if p := f.probe(t, f.upstream.Generation()); p.Class != tlsclient.ConnectTimeout || p.Err == nil {
		t.Errorf("%+v", p)
	}
}

// nginx makes its handshake with everybody, and refuses in its answers.
func TestProbeDoubtsAServerThatAcceptsOtherAuthoritiesButMakesItsHandshake(t *testing.T) {
	other := tlstest.NewCA(t, tlstest.CAOptions{Name: "another"})
	for _, version := range versions {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := startServer(t, tlstest.ServerOptions{Version: version, Adjust: func(c *tls.Config) {
				c.ClientAuth, c.ClientCAs, c.VerifyConnection = tls.RequireAnyClientCert, other.Pool(), nil
			}})
			p := f.probe(t, f.upstream.Generation())
			if p.Class != tlsclient.Doubtful || p.Err == nil || !p.Asked || p.Accepted || len(p.Chain) != 1 {
				t.Fatalf("%+v", p)
			}
			if issuer := f.upstream.Generation().Leaf.Issuer.String(); !strings.Contains(p.Err.Error(), issuer) {
				t.Errorf("%v does not name the issuer %s", p.Err, issuer)
			}
		})
	}
}
