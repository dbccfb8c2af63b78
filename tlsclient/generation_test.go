package tlsclient_test

import (
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// A generation replaces another if it shows other certificates or trusts other servers,
// and only then.
func TestSame(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true})
	client := ca.Client(t, "client")
	renewed := ca.Issue(t, tlstest.LeafOptions{CommonName: "client", Key: client.Key})
	renamed := ca.Issue(t, tlstest.LeafOptions{CommonName: "client", Key: client.Key, Serial: client.Leaf.SerialNumber, DNS: []string{"other.test"}})
	other := tlstest.NewCA(t, tlstest.CAOptions{})
	for name, c := range map[string]struct {
		change func(m *tlsclient.Material)
		same   bool
	}{
		"nothing":                      {func(*tlsclient.Material) {}, true},
		"the key in another encoding":  {func(m *tlsclient.Material) { m.Key = client.LegacyKeyPEM() }, true},
		"a comment in the certificate": {func(m *tlsclient.Material) { m.Cert = append([]byte("a comment\n"), m.Cert...) }, true},
		"the same anchor twice":        {func(m *tlsclient.Material) { m.CA = tlstest.CABundle(ca, ca) }, true},
		"renewed for the same key":     {func(m *tlsclient.Material) { m.Cert = renewed.CertPEM() }, false},
		"other names, the same serial": {func(m *tlsclient.Material) { m.Cert = renamed.CertPEM() }, false},
		"another key and certificate":  {func(m *tlsclient.Material) { *m = *withCRL(t, ca.Client(t, "client"), ca) }, false},
		"no intermediate any more":     {func(m *tlsclient.Material) { m.Cert = (&tlstest.Identity{Leaf: client.Leaf}).CertPEM() }, false},
		"another anchor":               {func(m *tlsclient.Material) { m.CA = other.PEM() }, false},
		"one anchor more":              {func(m *tlsclient.Material) { m.CA = tlstest.CABundle(ca, other) }, false},
		"another revocation list":      {func(m *tlsclient.Material) { m.CRL = ca.CRL(t, tlstest.CRLOptions{Number: 2}) }, false},
		"one revocation list more":     {func(m *tlsclient.Material) { m.CRL = append(m.CRL, other.CRL(t, tlstest.CRLOptions{})...) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			id := tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a", CRL: "/r"}
			m := withCRL(t, client, ca)
			old := makeOf(t, id, m)
			c.change(m)
			next := makeOf(t, id, m)
			if old.Same(next) != c.same || next.Same(old) != c.same || !next.Same(next) {
				t.Errorf("got %v and %v, want %v", old.Same(next), next.Same(old), c.same)
			}
		})
	}
}

// withCRL is what the files of an identity would hold, with a revocation list.
func withCRL(t *testing.T, client *tlstest.Identity, ca *tlstest.CA) *tlsclient.Material {
	t.Helper()
	m := materialOf(client, ca)
	m.CRL = ca.CRL(t, tlstest.CRLOptions{})
	return m
}

func makeOf(t *testing.T, id tlsclient.Identity, m *tlsclient.Material) *tlsclient.Generation {
	t.Helper()
	g, err := id.Make(m, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSameNeedsNoKeyBytes(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	open := func(uri string) *tlsclient.Generation {
		id := inToken(t, ca, client, nil)
		signer := id.Signer
		id.Key = uri
		id.Signer = func(_ string, leaf *x509.Certificate) (crypto.Signer, error) {
			if _, err := signer(tokenURI, leaf); err != nil {
				return nil, err
			}
			return &token{key: client.Key}, nil // another one each time
		}
		return makeOf(t, id, &tlsclient.Material{Cert: client.CertPEM(), CA: ca.PEM()})
	}
	if !open(tokenURI).Same(open(tokenURI)) {
		t.Error("the same certificate and the same URI are not the same")
	}
	if open(tokenURI).Same(open("pkcs11:token=other")) {
		t.Error("a key that was moved to another token is used in the old one")
	}
	file := makeOf(t, tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a"}, materialOf(client, ca))
	if file.Same(open(tokenURI)) || open(tokenURI).Same(file) {
		t.Error("a key that was moved from a file into a token is used from memory")
	}
}

// A generation without a list and one with a list trust different servers.
func TestSameWithAndWithoutRevocation(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	m := withCRL(t, ca.Client(t, "client"), ca)
	id := tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a"}
	without := makeOf(t, id, m)
	id.CRL = "/r"
	if with := makeOf(t, id, m); with.Same(without) || without.Same(with) {
		t.Error("revocation makes no difference")
	}
}
