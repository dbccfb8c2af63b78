package identity_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// A key in a store is asked for whenever the files are opened, as a passphrase is used.
func TestFilesThatSayTheSameAreOpenedOnceAMinute(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	opened, paths := 0, f.paths()
	pair, err := tls.LoadX509KeyPair(f.files.Cert, f.files.Key)
	must(t, err)
	paths.Key = "store:key"
	paths.Signer = func(string, *x509.Certificate) (crypto.Signer, error) {
		opened++
		return pair.PrivateKey.(crypto.Signer), nil
	}
	f.Identity = identity.New(paths, "")
	for range 59 {
		f.try(time.Second)
	}
	if opened != 1 {
		t.Errorf("opened %d times within a minute, want once", opened)
	}
	if s := f.State(); !s.Checked.Equal(f.now) {
		t.Errorf("they count as checked at %v, want %v", s.Checked, f.now)
	}
	f.try(2 * time.Second)
	if opened != 2 {
		t.Errorf("opened %d times in more than a minute, want twice", opened)
	}
	tlstest.WriteFile(t, f.files.CA, append(f.ca.PEM(), '\n'), 0o644)
	f.try(time.Second)
	if opened != 3 {
		t.Errorf("opened %d times after a change, want 3 times", opened)
	}
}

// However long what is wrong with them was known.
func TestFilesThatAreMendedAreSeenAtOnce(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	good := f.read(f.files.Cert)
	f.halve()
	for range 3 {
		f.try(time.Second)
	}
	if f.State().Failures["malformed"] != 3 {
		t.Errorf("failed %v", f.State().Failures)
	}
	tlstest.WriteFile(t, f.files.Cert, good, 0o644)
	if f.try(time.Second); f.State().Err != nil {
		t.Error(f.State().Err)
	}
}

func TestACertificateThatIsNotYetValidComesIntoUseInTime(t *testing.T) {
	begin := time.Now().Truncate(time.Second).Add(5*time.Minute + 20*time.Second)
	f := newFixture(t, tlstest.LeafOptions{NotBefore: begin, NotAfter: begin.Add(time.Hour)})
	f.try(0)
	if f.State().Err == nil {
		t.Fatal("it is valid too early")
	}
	if f.try(30 * time.Second); f.State().Err != nil {
		t.Error(f.State().Err)
	}
}

// Trust anchors that have all expired are news, whoever put them there.
func TestExpiredTrustAnchorsAreRefusedBesideTheCertificateInUse(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	g := f.Generation()
	f.distrust()
	f.try(time.Second)
	f.try(11 * time.Second)
	if s := f.State(); s.Err == nil || !s.Lasting || s.Failures["expired"] == 0 || f.Generation() != g {
		t.Errorf("in use %v; %v, lasting %v", f.Generation(), s.Err, s.Lasting)
	}
}

// distrust puts trust anchors in place that have expired.
func (f *fixture) distrust() {
	f.tb.Helper()
	dead := tlstest.NewCA(f.tb, tlstest.CAOptions{NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)})
	tlstest.WriteFile(f.tb, f.files.CA, dead.PEM(), 0o644)
}

func TestACertificateThatExpiresInPlaceIsNoFailure(t *testing.T) {
	begin := time.Now().Truncate(time.Second)
	f := newFixture(t, tlstest.LeafOptions{NotBefore: begin, NotAfter: begin.Add(time.Minute)})
	f.try(0)
	f.try(2 * time.Minute)
	if s := f.State(); s.Err != nil {
		t.Error(s.Err)
	}
	f.distrust()
	if f.try(time.Second); f.State().Err == nil {
		t.Error("that the trust anchors have expired as well is not told")
	}
	must(t, os.Truncate(f.files.CA, 0))
	if f.try(time.Second); f.State().Err == nil {
		t.Error("that there are none is not told")
	}
}
