package tlsclient_test

import (
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// Whatever is in the files, there is a generation or a typed error, and not both.
func FuzzMake(f *testing.F) {
	ca := tlstest.NewCA(f, tlstest.CAOptions{Intermediate: true})
	client := ca.Client(f, "client")
	f.Add(client.CertPEM(), client.KeyPEM(), ca.PEM(), ca.CRL(f, tlstest.CRLOptions{}))
	f.Add(client.CertPEM(), client.LegacyKeyPEM(), tlstest.CABundle(ca, ca), []byte{0x30, 0x80})
	f.Add(client.CertPEM()[:100], client.KeyPEM()[:100], []byte(nil), []byte("-----BEGIN X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, cert, key, anchors, lists []byte) {
		m := &tlsclient.Material{Cert: cert, Key: key, CA: anchors, CRL: lists}
		g, err := tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a", CRL: "/r"}.Make(m, 1, time.Now())
		if (g == nil) != (err != nil) {
			t.Fatalf("a generation: %v, and %v", g != nil, err)
		}
		if err != nil && tlsclient.ReasonOf(err) == tlsclient.ReasonOther {
			t.Fatalf("an error without a reason: %v", err)
		}
		if leaf := m.Leaf(); g != nil && !leaf.Equal(g.Leaf) {
			t.Fatal("the leaf of the material is not that of the generation")
		}
	})
}
