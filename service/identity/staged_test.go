package identity_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// parts is a new pair as it would be handed in.
func (f *fixture) parts() (p identity.Parts, serial string) {
	id := f.ca.Client(f.tb, "app")
	return identity.Parts{Cert: id.CertPEM(), Key: id.KeyPEM()}, id.Serial()
}

// stage hands in a new pair.
func (f *fixture) stage() (serial string) {
	f.tb.Helper()
	p, serial := f.parts()
	if _, err := f.Stage(p, "uid 0", f.now); err != nil {
		f.tb.Fatal(err)
	}
	return serial
}

func (f *fixture) listing() string {
	f.tb.Helper()
	entries, err := os.ReadDir(f.files.Dir)
	if err != nil {
		f.tb.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestCommitWritesWhatWasStaged(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	if err := os.Chmod(f.files.Key, 0o640); err != nil {
		t.Fatal(err)
	}
	before := f.listing()
	serial := f.stage()
	found, written, err := f.Commit(f.now)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Take(found) || f.Generation().Serial() != serial || f.Generation().Number != 2 {
		t.Errorf("generation %d with serial %s, want 2 with %s", f.Generation().Number, f.Generation().Serial(), serial)
	}
	if strings.Join(written, " ") != f.files.Key+" "+f.files.Cert {
		t.Errorf("written: %q", written)
	}
	if info, err := os.Stat(f.files.Key); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the key's mode is %v, %v; want that of the key before, 0640", info.Mode(), err)
	}
	if after := f.listing(); after != before {
		t.Errorf("the directory has %s, had %s", after, before)
	}
	if f.State().Staged != nil {
		t.Error("it is still staged")
	}
}

func TestCommitWritesThroughLinks(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	archive := filepath.Join(f.files.Dir, "archive")
	if err := errors.Join(os.Mkdir(archive, 0o700), os.Rename(f.files.Cert, archive+"/1.crt"), os.Symlink("archive/1.crt", f.files.Cert)); err != nil {
		t.Fatal(err)
	}
	f.try(0)
	serial := f.stage()
	if _, _, err := f.Commit(f.now); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(f.files.Cert); err != nil || to != "archive/1.crt" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if f.try(time.Second); f.Generation().Serial() != serial {
		t.Error("what was staged is not in use")
	}
}

func TestACommitThatFailsChangesNothing(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	serial := f.stage()
	cert, err := os.ReadFile(f.files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	// The key can be replaced; the certificate's place cannot be, since it is taken by
	// a directory.
	key, err := os.ReadFile(f.files.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(f.files.Cert), os.Mkdir(f.files.Cert, 0o700)); err != nil {
		t.Fatal(err)
	}
	before := f.listing()
	if _, _, err := f.Commit(f.now); err == nil {
		t.Fatal("it was committed")
	}
	if now, err := os.ReadFile(f.files.Key); err != nil || !bytes.Equal(now, key) {
		t.Errorf("the key is another: %v", err)
	}
	if after := f.listing(); after != before {
		t.Errorf("the directory has %s, had %s", after, before)
	}
	if err := os.Remove(f.files.Cert); err != nil {
		t.Fatal(err)
	}
	tlstest.WriteFile(t, f.files.Cert, cert, 0o644)
	if found, _, err := f.Commit(f.now); err != nil || found.Generation.Serial() != serial {
		t.Errorf("it is not staged any more: %v", err)
	}
}

func TestWhatIsStagedIsChecked(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	p, _ := f.parts()
	other, _ := f.parts()
	for name, bad := range map[string]identity.Parts{
		"another key":          {Cert: p.Cert, Key: other.Key},
		"no key":               {Cert: p.Cert},
		"an unexpected store":  {PKCS12: []byte("x")},
		"trust anchors at all": {Cert: p.Cert, Key: p.Key, CA: []byte("none")},
	} {
		if _, err := f.Stage(bad, "uid 0", f.now); err == nil {
			t.Errorf("%s was staged", name)
		}
	}
	if f.State().Staged != nil {
		t.Error("something is staged")
	}
}

func TestStagedKeysAreWiped(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	for name, end := range map[string]func(){
		"unstaged": func() { _ = f.Unstage() },
		"replaced": func() { f.stage() },
		"an hour":  func() { f.try(time.Hour + time.Second) },
	} {
		p, _ := f.parts()
		if _, err := f.Stage(p, "uid 0", f.now); err != nil {
			t.Fatal(err)
		}
		end()
		if bytes.Contains(p.Key, []byte("PRIVATE")) {
			t.Errorf("%s: the key is still in memory", name)
		}
	}
	_ = f.Unstage()
	if err := f.Unstage(); !errors.Is(err, identity.ErrNothingStaged) {
		t.Errorf("unstaging nothing: %v", err)
	}
}

func TestACertificateIsStagedAloneIfItsKeyIsNoFile(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	id := f.ca.Client(t, "app")
	pair, err := tls.X509KeyPair(id.CertPEM(), id.KeyPEM())
	must(t, err)
	paths := f.paths()
	paths.Key = "store:key"
	paths.Signer = func(string, *x509.Certificate) (crypto.Signer, error) { return pair.PrivateKey.(crypto.Signer), nil }
	f.Identity = identity.New(paths, "")
	if _, err := f.Stage(identity.Parts{Cert: id.CertPEM(), Key: id.KeyPEM()}, "uid 0", f.now); err == nil {
		t.Error("a key was staged that has no file")
	}
	if _, err := f.Stage(identity.Parts{Cert: id.CertPEM()}, "uid 0", f.now); err != nil {
		t.Fatal(err)
	}
	if found, _, err := f.Commit(f.now); err != nil || found.Generation.Serial() != id.Serial() {
		t.Errorf("commit: %v", err)
	}
}

func TestNothingShowsAStagedKey(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	p, _ := f.parts()
	if _, err := f.Stage(p, "uid 0", f.now); err != nil {
		t.Fatal(err)
	}
	const secret = "80 82 73 86 65 84 69" // PRIVATE, as bytes
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if text := fmt.Sprintf(verb+verb, p, f.State().Staged); strings.Contains(text, "PRIVATE") || strings.Contains(text, secret) {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}

func TestStagingWaitsForNoPipe(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	if err := errors.Join(os.Remove(f.files.CA), syscall.Mkfifo(f.files.CA, 0o644)); err != nil {
		t.Fatal(err)
	}
	next := f.ca.Client(t, "app")
	if _, err := f.Stage(identity.Parts{Cert: next.CertPEM(), Key: next.KeyPEM()}, "somebody", f.now); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}
