package tlsclient_test

import (
	"crypto/tls"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func pins(t *testing.T, names ...string) func(*tlsclient.Options) {
	return func(o *tlsclient.Options) {
		for _, n := range names {
			p, err := tlsclient.ParsePin(n)
			if err != nil {
				t.Fatal(err)
			}
			o.Pins = append(o.Pins, p)
		}
	}
}

func TestServerIsVerified(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	stranger := tlstest.NewCA(t, tlstest.CAOptions{})
	spiffe := ca.Server(t, "spiffe://corp/billing")
	for name, c := range map[string]struct {
		identity *tlstest.Identity
		change   func(*tlsclient.Options)
		accepted bool
	}{
		"its address is in the certificate": {ca.Server(t, "127.0.0.1"), nil, true},
		"its address is not":                {ca.Server(t, "127.0.0.2"), nil, false},
		"server_name is":                    {ca.Server(t, "billing.internal"), func(o *tlsclient.Options) { o.ServerName = "billing.internal" }, true},
		"server_name is not":                {ca.Server(t, "127.0.0.1"), func(o *tlsclient.Options) { o.ServerName = "billing.internal" }, false},
		"another CA":                        {stranger.Server(t, "127.0.0.1"), nil, false},
		"a client's certificate":            {ca.Client(t, "127.0.0.1"), nil, false},
		"expired":                           {ca.Issue(t, tlstest.LeafOptions{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Usage: ca.Server(t).Leaf.ExtKeyUsage, NotAfter: time.Now().Add(-time.Minute)}), nil, false},

		"the pinned URI is in the certificate": {spiffe, pins(t, "spiffe://corp/billing"), true},
		"one of the pins is":                   {spiffe, pins(t, "spiffe://corp/other", "spiffe://corp/billing"), true},
		"the pinned URI is not":                {spiffe, pins(t, "spiffe://corp/billin"), false},
		"the pinned URI, in other case":        {spiffe, pins(t, "spiffe://corp/Billing"), false},
		"the pinned name is":                   {ca.Server(t, "a.test"), pins(t, "dns:A.test"), true},
		"the pinned address is":                {ca.Server(t, "10.1.2.3"), pins(t, "ip:10.1.2.3"), true},
		"the pin fits, but it is another CA's": {stranger.Server(t, "spiffe://corp/billing"), pins(t, "spiffe://corp/billing"), false},
		"the pin fits a client's certificate":  {ca.Issue(t, tlstest.LeafOptions{URIs: []string{"spiffe://corp/billing"}}), pins(t, "spiffe://corp/billing"), false},
		"a wildcard is no match for a pin":     {ca.Server(t, "*.test"), pins(t, "a.test"), false},
	} {
		t.Run(name, func(t *testing.T) {
			change := c.change
			if change == nil {
				change = func(*tlsclient.Options) {}
			}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				f := startServer(t, tlstest.ServerOptions{CA: ca, Identity: c.identity, Script: tlstest.Static(tlstest.OK), Version: version}, change)
				a := f.do(f.request("GET"))
				if !c.accepted {
					a.refused(t, tlsclient.TLSVerifyFailed, tlsclient.FaultUpstream)
					continue
				}
				a.expect(t, 200, "ok")
				if a.TLSVersion != version || a.Serial != c.identity.Serial() {
					t.Errorf("TLS %x with serial %s, want %x with %s", a.TLSVersion, a.Serial, version, c.identity.Serial())
				}
			}
		})
	}
}

func TestWholeChainIsSent(t *testing.T) {
	// The server trusts the root only, so it needs our intermediate.
	ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true})
	f := startServer(t, tlstest.ServerOptions{CA: ca, Script: tlstest.Static(tlstest.OK)})
	f.do(f.request("GET")).expect(t, 200, "ok")
}

func TestRefusedClientCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f := startServer(t, tlstest.ServerOptions{RefuseClient: true, Version: version})
		f.do(f.request("GET")).refused(t, tlsclient.ClientCertRejected, tlsclient.FaultUpstream)
		f.do(f.request("POST")).refused(t, tlsclient.ClientCertRejected, tlsclient.FaultUpstream)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	old := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }
	f := startServer(t, tlstest.ServerOptions{Adjust: old})
	f.do(f.request("GET")).refused(t, tlsclient.TLSFailed, tlsclient.FaultUpstream)
}

func TestMinimumVersion(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{Version: tls.VersionTLS12}, func(o *tlsclient.Options) { o.MinVersion = tls.VersionTLS13 })
	f.do(f.request("GET")).refused(t, tlsclient.TLSFailed, tlsclient.FaultUpstream)
}

func TestHandshakeThatStalls(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{BeforeHandshake: tlstest.Stall}, func(o *tlsclient.Options) { o.HandshakeTimeout = 50 * time.Millisecond })
	f.do(f.request("GET")).refused(t, tlsclient.ConnectTimeout, tlsclient.FaultUpstream)
}

func TestPlaintextBeforeTheHandshake(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{BeforeHandshake: tlstest.Plaintext(tlstest.OK)})
	f.do(f.request("GET")).refused(t, tlsclient.TLSFailed, tlsclient.FaultUpstream)
}

func TestRevocation(t *testing.T) {
	for name, c := range map[string]struct {
		list     func(ca *tlstest.CA, server *tlstest.Identity) []byte
		accepted bool
	}{
		"not on the list": {func(ca *tlstest.CA, _ *tlstest.Identity) []byte {
			return ca.CRL(t, tlstest.CRLOptions{Serials: []*big.Int{big.NewInt(1)}})
		}, true},
		"on the list": {func(ca *tlstest.CA, s *tlstest.Identity) []byte {
			return ca.CRL(t, tlstest.CRLOptions{Serials: []*big.Int{s.Leaf.SerialNumber}})
		}, false},
		"on the newer of two lists": {func(ca *tlstest.CA, s *tlstest.Identity) []byte {
			older := ca.CRL(t, tlstest.CRLOptions{ThisUpdate: time.Now().Add(-2 * time.Hour)})
			return append(ca.CRL(t, tlstest.CRLOptions{Number: 2, Serials: []*big.Int{s.Leaf.SerialNumber}}), older...)
		}, false},
		"the list has run out beside another's": {func(ca *tlstest.CA, _ *tlstest.Identity) []byte {
			old := ca.CRL(t, tlstest.CRLOptions{ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(-time.Hour)})
			return append(old, tlstest.NewCA(t, tlstest.CAOptions{}).CRL(t, tlstest.CRLOptions{})...)
		}, false},
		"the list is another CA's": {func(*tlstest.CA, *tlstest.Identity) []byte {
			return tlstest.NewCA(t, tlstest.CAOptions{}).CRL(t, tlstest.CRLOptions{})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ca := tlstest.NewCA(t, tlstest.CAOptions{})
			server := ca.Server(t)
			f := startServer(t, tlstest.ServerOptions{CA: ca, Identity: server, Script: tlstest.Static(tlstest.OK)})
			files := ca.Client(t, "client").WriteFiles(t, "", ca)
			files.WriteCRL(t, c.list(ca, server))
			id := identity(files)
			id.CRL = files.CRL
			g, err := id.Load(2, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			f.upstream.Use(g)
			for range 2 { // the second would resume the session
				a := f.do(f.request("GET"))
				if !c.accepted {
					a.refused(t, tlsclient.TLSVerifyFailed, tlsclient.FaultUpstream)
					continue
				}
				a.expect(t, 200, "ok")
				f.server.CloseConnections(tlstest.CloseNotify)
			}
		})
	}
}

// A server's certificate that is itself the trust anchor has no issuer whose list
// could say that it was revoked.
func TestRevocationOfAnAnchorCannotBeChecked(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	server := ca.Server(t)
	f := startServer(t, tlstest.ServerOptions{CA: ca, Identity: server, Script: tlstest.Static(tlstest.OK)})
	files := ca.Client(t, "client").WriteFiles(t, "", ca)
	tlstest.WriteFile(t, files.CA, server.CertPEM(), 0o600)
	files.WriteCRL(t, ca.CRL(t, tlstest.CRLOptions{Serials: []*big.Int{server.Leaf.SerialNumber}}))
	id := identity(files)
	id.CRL = files.CRL
	g, err := id.Load(2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.upstream.Use(g)
	f.do(f.request("GET")).refused(t, tlsclient.TLSVerifyFailed, tlsclient.FaultUpstream)
}

func TestParsePin(t *testing.T) {
	for _, s := range []string{"", "ip:10.1.2", "ip:"} {
		if p, err := tlsclient.ParsePin(s); err == nil {
			t.Errorf("%q was read as %+v", s, p)
		}
	}
}
