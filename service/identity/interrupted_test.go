package identity_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// interrupted lays the files as a commit leaves them that ended between the swap of the
// key and that of the certificate, and returns the pair that it was about to write.
func (f *fixture) interrupted() *tlstest.Identity {
	f.tb.Helper()
	id := f.ca.Issue(f.tb, tlstest.LeafOptions{NotAfter: time.Now().AddDate(1, 6, 0)})
	aside := func(path, number string) string {
		return filepath.Join(f.files.Dir, "."+filepath.Base(path)+".new-"+number)
	}
	must(f.tb, os.Rename(f.files.Key, aside(f.files.Key, "123")))
	tlstest.WriteFile(f.tb, f.files.Key, id.KeyPEM(), 0o600)
	tlstest.WriteFile(f.tb, aside(f.files.Cert, "456"), id.CertPEM(), 0o644)
	return id
}

// mend tries the files and settles what was interrupted, as a daemon does that starts.
func (f *fixture) mend() (moved []string) {
	f.tb.Helper()
	found, moved := f.Mend(f.Try(f.now), f.now)
	f.Take(found)
	return moved
}

func TestACommitThatWasInterruptedIsFinished(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{NotAfter: time.Now().AddDate(1, 0, 0)})
	listing := f.listing()
	id := f.interrupted()
	if moved := f.mend(); len(moved) != 1 || moved[0] != f.files.Cert {
		t.Errorf("moved %q, want %s", moved, f.files.Cert)
	}
	if g := f.Generation(); g == nil || g.Serial() != id.Serial() {
		t.Errorf("in use is %v, want %s: %v", g, id.Serial(), f.State().Err)
	}
	if f.listing() != listing {
		t.Errorf("left is %s", f.listing())
	}
}

func TestACommitThatCannotBeFinishedIsTakenBack(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	key := f.read(f.files.Key)
	f.try(0)
	serial := f.Generation().Serial()
	f.interrupted()
	half := f.read(filepath.Join(f.files.Dir, ".client.crt.new-456"))
	tlstest.WriteFile(t, filepath.Join(f.files.Dir, ".client.crt.new-456"), half[:len(half)/2], 0o644)
	f.Identity = identity.New(f.paths(), "")
	if f.mend(); !bytes.Equal(f.read(f.files.Key), key) || f.Generation().Serial() != serial {
		t.Errorf("the key of before is not in place: %v", f.State().Err)
	}
}

func TestWhatAnInterruptedCommitHasLeftIsNamed(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.interrupted()
	must(t, os.Remove(filepath.Join(f.files.Dir, ".client.crt.new-456")))
	f.mend()
	if err := f.State().Err; err == nil || !strings.Contains(err.Error(), ".client.key.new-123") {
		t.Errorf("it says %v", err)
	}
	if !strings.Contains(f.listing(), ".client.key.new-123") {
		t.Error("it is gone")
	}
}

// Then a rotation by hand is under way.
func TestNothingIsMendedWhileAGenerationIsInUse(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	f.interrupted()
	listing := f.listing()
	if moved := f.mend(); moved != nil || f.listing() != listing {
		t.Errorf("moved %q; left is %s", moved, f.listing())
	}
}

func TestWhatIsLeftOfACommitThatWasWholeIsRemoved(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	listing := f.listing()
	id := f.interrupted()
	must(t, os.Rename(filepath.Join(f.files.Dir, ".client.crt.new-456"), f.files.Cert))
	if f.mend(); f.Generation().Serial() != id.Serial() || f.listing() != listing {
		t.Errorf("in use %s, left %s", f.Generation().Serial(), f.listing())
	}
}

func TestACommitRemovesWhatEarlierOnesHaveLeft(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	listing := f.listing()
	f.interrupted()
	f.stage()
	if _, _, err := f.Commit(f.now); err != nil || f.listing() != listing {
		t.Errorf("%v; left is %s", err, f.listing())
	}
}

func TestCommitsOfTwoDaemonsComeInTurn(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	during := f.interfere(f.paths())
	other := identity.New(f.paths(), "")
	other.Take(other.Try(f.now))
	p, _ := f.parts()
	if _, err := other.Stage(p, "uid 0", f.now); err != nil {
		t.Fatal(err)
	}
	serial := f.stage()
	during(func() {
		if _, _, err := other.Commit(f.now); err == nil || errors.Is(err, identity.ErrNotUndone) || !strings.Contains(err.Error(), "another daemon") {
			t.Errorf("the other one: %v", err)
		}
	})
	if found, _, err := f.Commit(f.now); err != nil || found.Generation.Serial() != serial {
		t.Errorf("commit: %v", err)
	}
	if _, _, err := other.Commit(f.now); err != nil {
		t.Errorf("the other one, then: %v", err)
	}
}
