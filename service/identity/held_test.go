package identity_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// chained is an identity whose certificate comes with an intermediate.
func chained(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{tb: t, ca: tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true}), now: time.Now()}
	f.files = f.ca.Client(t, "app").WriteFiles(t, "", f.ca)
	f.Identity = identity.New(f.paths(), "")
	f.try(0)
	return f
}

// held tries the files after some time, as a daemon does that was told of a change.
func (f *fixture) held(after time.Duration) (swapped bool) {
	f.tb.Helper()
	f.now = f.now.Add(after)
	return f.Take(f.Hold(f.Try(f.now)))
}

// A chain that is being written looks whole at the end of each certificate.
func TestAChainThatIsShorterIsHeld(t *testing.T) {
	f := chained(t)
	next := f.ca.Client(t, "app")
	whole := next.CertPEM()
	end := []byte("-----END CERTIFICATE-----\n")
	leaf := whole[:bytes.Index(whole, end)+len(end)]
	tlstest.WriteFile(t, f.files.Key, next.KeyPEM(), 0o600)
	tlstest.WriteFile(t, f.files.Cert, leaf, 0o644)
	if f.held(time.Second) {
		t.Fatal("the leaf alone was taken at once")
	}
	if s := f.State(); tlsclient.ReasonOf(s.Err) != tlsclient.ReasonChanging {
		t.Errorf("said of it: %v", s.Err)
	}
	tlstest.WriteFile(t, f.files.Cert, whole, 0o644)
	if !f.held(time.Second) || f.Generation().Serial() != next.Serial() || f.Generation().Intermediates() != 1 {
		t.Error("the whole chain was not taken at once")
	}
}

func TestAChainThatStaysShorterIsTaken(t *testing.T) {
	f := chained(t)
	f.ca.Issue(t, tlstest.LeafOptions{Bare: true}).WriteFiles(t, f.files.Dir, f.ca)
	f.held(time.Second)
	begun := f.now
	for !f.held(f.dueIn()) {
		if f.now.Sub(begun) > time.Minute {
			t.Fatalf("it is not taken: %v", f.State().Err)
		}
	}
	if took := f.now.Sub(begun); took != 10*time.Second || f.Generation().Intermediates() != 0 {
		t.Errorf("taken after %v with %d intermediates", took, f.Generation().Intermediates())
	}
}

func TestFewerTrustAnchorsAreHeld(t *testing.T) {
	f := chained(t)
	one, err := os.ReadFile(f.files.CA)
	if err != nil {
		t.Fatal(err)
	}
	other := tlstest.NewCA(t, tlstest.CAOptions{}).PEM()
	tlstest.WriteFile(t, f.files.CA, append(bytes.Clone(one), other...), 0o644)
	if !f.held(time.Second) {
		t.Fatal("more trust anchors were not taken at once")
	}
	tlstest.WriteFile(t, f.files.CA, other, 0o644)
	if f.held(time.Second) {
		t.Error("one of two was taken at once")
	}
	if !f.held(11 * time.Second) {
		t.Error("one of two was not taken when it had stayed")
	}
}

// Whoever writes a new authority, and the old one behind it, pauses between them.
func TestTrustAnchorsOfWhichOneInUseIsMissingAreHeld(t *testing.T) {
	f := chained(t)
	other := tlstest.NewCA(t, tlstest.CAOptions{}).PEM()
	tlstest.WriteFile(t, f.files.CA, other, 0o644)
	if f.held(time.Second) {
		t.Fatal("another trust anchor alone was taken at once")
	}
	tlstest.WriteFile(t, f.files.CA, append(bytes.Clone(other), f.ca.PEM()...), 0o644)
	if !f.held(time.Second) || f.Generation().Anchors() != 2 {
		t.Error("both were not taken at once")
	}
}

func TestATrustAnchorThatStandsTwiceIsOne(t *testing.T) {
	f := chained(t)
	tlstest.WriteFile(t, f.files.CA, bytes.Repeat(f.ca.PEM(), 2), 0o644)
	if f.held(time.Second); f.Generation().Anchors() != 1 {
		t.Errorf("%d anchors", f.Generation().Anchors())
	}
}

func TestAnotherPairDoesNotProlongTheWait(t *testing.T) {
	f := chained(t)
	tlstest.WriteFile(t, f.files.CA, append(f.ca.PEM(), tlstest.NewCA(t, tlstest.CAOptions{}).PEM()...), 0o644)
	f.held(time.Second)
	begun := f.now
	for f.Generation().Anchors() != 1 {
		if f.now.Sub(begun) > 15*time.Second {
			t.Fatalf("after %v there are still %d anchors: %v", f.now.Sub(begun), f.Generation().Anchors(), f.State().Err)
		}
		f.renew() // with the one anchor of its authority
		f.held(4 * time.Second)
	}
}

func TestNothingIsHeldForACertificateThatHasExpired(t *testing.T) {
	f := chained(t)
	f.ca.Issue(t, tlstest.LeafOptions{NotAfter: f.now.Add(time.Hour)}).WriteFiles(t, f.files.Dir, f.ca)
	f.held(time.Second)
	f.held(2 * time.Hour)
	f.ca.Issue(t, tlstest.LeafOptions{Bare: true}).WriteFiles(t, f.files.Dir, f.ca)
	if !f.held(time.Second) {
		t.Errorf("a good certificate with a shorter chain is not taken: %v", f.State().Err)
	}
}

func TestRevocationListsOfWhichOneIsMissingAreHeld(t *testing.T) {
	f := chained(t)
	root, intermediate := f.ca.CRL(t, tlstest.CRLOptions{ByRoot: true}), f.ca.CRL(t, tlstest.CRLOptions{})
	f.files.WriteCRL(t, append(bytes.Clone(root), intermediate...))
	paths := f.paths()
	paths.CRL = f.files.CRL
	f.Identity = identity.New(paths, "")
	f.held(0)
	newer := f.ca.CRL(t, tlstest.CRLOptions{ByRoot: true, Number: 2})
	f.files.WriteCRL(t, newer)
	if f.held(time.Second) {
		t.Error("one of two was taken at once")
	}
	f.files.WriteCRL(t, append(bytes.Clone(newer), intermediate...))
	if !f.held(time.Second) {
		t.Errorf("both were not taken at once: %v", f.State().Err)
	}
}
