package identity_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// interfere has the files read by an identity that calls do when it next has read them
// once, which in a commit is after they were written.
func (f *fixture) interfere(paths tlsclient.Identity) (during func(do func())) {
	var hook func()
	paths.Pause = func(time.Duration) {
		if do := hook; do != nil {
			hook = nil
			do()
		}
	}
	f.Identity = identity.New(paths, "")
	f.try(0)
	return func(do func()) { hook = do }
}

func (f *fixture) read(path string) []byte {
	f.tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		f.tb.Fatal(err)
	}
	return data
}

// inOneFile moves key and certificate into one file, and returns it.
func (f *fixture) inOneFile() string {
	one := filepath.Join(f.files.Dir, "both.pem")
	tlstest.WriteFile(f.tb, one, slices.Concat(f.read(f.files.Key), f.read(f.files.Cert)), 0o640)
	return one
}

func TestKeyAndCertificateInOneFileAreCommittedTogether(t *testing.T) {
	for name, lay := range map[string]func(f *fixture, one string) tlsclient.Identity{
		"the same path": func(f *fixture, one string) tlsclient.Identity {
			return tlsclient.Identity{Name: "billing", Cert: one, Key: one, CA: f.files.CA}
		},
		"links to it": func(f *fixture, one string) tlsclient.Identity {
			err := errors.Join(os.Remove(f.files.Key), os.Remove(f.files.Cert), os.Symlink(one, f.files.Key), os.Symlink("both.pem", f.files.Cert))
			if err != nil {
				f.tb.Fatal(err)
			}
			return f.paths()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tlstest.LeafOptions{})
			one := f.inOneFile()
			f.Identity = identity.New(lay(f, one), "")
			f.try(0)
			serial := f.stage()
			found, written, err := f.Commit(f.now)
			if err != nil {
				t.Fatal(err)
			}
			if f.Take(found); f.Generation().Serial() != serial || len(written) != 1 {
				t.Errorf("in use %s, written %q; want %s and one file", f.Generation().Serial(), written, serial)
			}
			if info, err := os.Lstat(one); err != nil || info.Mode() != 0o640 {
				t.Errorf("the file is now %v, %v; want mode 0640", info.Mode(), err)
			}
			f.Identity = identity.New(tlsclient.Identity{Name: "billing", Cert: one, Key: one, CA: f.files.CA}, "")
			if f.try(0); f.State().Err != nil {
				t.Errorf("a start says %v", f.State().Err)
			}
		})
	}
}

func TestAFileThatIsHandedInForBothIsWrittenOnce(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	one := f.inOneFile()
	f.Identity = identity.New(tlsclient.Identity{Name: "billing", Cert: one, Key: one, CA: f.files.CA}, "")
	f.try(0)
	p, _ := f.parts()
	both := slices.Concat(p.Key, p.Cert)
	if _, err := f.Stage(identity.Parts{Cert: bytes.Clone(both), Key: bytes.Clone(both)}, "uid 0", f.now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Commit(f.now); err != nil || !bytes.Equal(f.read(one), both) {
		t.Errorf("it holds something else; %v", err)
	}
}

func TestACommitToOneFileThatFailsLeavesIt(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	one := f.inOneFile()
	during := f.interfere(tlsclient.Identity{Name: "billing", Cert: one, Key: one, CA: f.files.CA})
	before, listing := f.read(one), f.listing()
	f.stage()
	during(func() { must(t, os.Truncate(f.files.CA, 0)) })
	if _, _, err := f.Commit(f.now); err == nil || errors.Is(err, identity.ErrNotUndone) {
		t.Errorf("commit: %v", err)
	}
	if !bytes.Equal(f.read(one), before) || f.listing() != listing {
		t.Errorf("the file has changed, or %s is another list than %s", f.listing(), listing)
	}
}

func TestAFileThatHoldsTrustAnchorsAsWellIsNotStagedFor(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	chain := slices.Concat(f.read(f.files.Cert), f.read(f.files.CA))
	tlstest.WriteFile(t, f.files.Cert, chain, 0o644)
	paths := f.paths()
	paths.CA = paths.Cert
	f.Identity = identity.New(paths, "")
	f.try(0)
	p, _ := f.parts()
	if _, err := f.Stage(p, "uid 0", f.now); err == nil || !strings.Contains(err.Error(), "the same file") {
		t.Errorf("staged: %v", err)
	}
}

func TestACommitThatIsAbortedMeanwhileIsWhole(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	during := f.interfere(f.paths())
	serial := f.stage()
	during(func() { must(t, f.Unstage()) })
	found, _, err := f.Commit(f.now)
	if err != nil {
		t.Fatal(err)
	}
	f.Take(found)
	if bytes.Contains(f.read(f.files.Key), []byte{0}) || f.Generation().Serial() != serial || f.State().Staged != nil {
		t.Error("what stands in the files is not what was staged")
	}
}

// Whatever the moment: the race detector looks on.
func TestCommitsAndAbortsAtOnceLeaveAGoodPair(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	for range 30 {
		f.stage()
		done := make(chan struct{})
		go func() {
			_ = f.Unstage() // or it was committed before
			close(done)
		}()
		if found, _, err := f.Commit(f.now); err == nil {
			f.Take(found)
		} else if !errors.Is(err, identity.ErrNothingStaged) {
			t.Error(err)
		}
		<-done
		if f.try(time.Second); f.State().Err != nil {
			t.Fatal(f.State().Err)
		}
	}
}

func TestWhatIsStagedDuringACommitStaysStaged(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	during := f.interfere(f.paths())
	first, second := f.stage(), ""
	during(func() { second = f.stage() })
	found, _, err := f.Commit(f.now)
	if err != nil || found.Generation.Serial() != first {
		t.Fatalf("commit: %v", err)
	}
	if s := f.State().Staged; s == nil || s.Generation.Serial() != second {
		t.Errorf("staged is %+v, want serial %s", s, second)
	}
}

// A rotation that comes between the writing and the look at what was written is newer.
func TestACommitThatFailsLeavesTheRotationOfSomebodyElse(t *testing.T) {
	for name, replace := range map[string]func(path string, data []byte) error{
		"renamed": func(path string, data []byte) error {
			return errors.Join(os.WriteFile(path+".theirs", data, 0o600), os.Rename(path+".theirs", path))
		},
		"written": func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tlstest.LeafOptions{})
			during := f.interfere(f.paths())
			f.stage()
			id := f.ca.Client(t, "longer than the other")
			during(func() {
				must(t, errors.Join(replace(f.files.Key, id.KeyPEM()), replace(f.files.Cert, id.CertPEM())))
			})
			if _, _, err := f.Commit(f.now); !errors.Is(err, identity.ErrNotUndone) || !strings.Contains(err.Error(), "somebody else") {
				t.Errorf("commit: %v", err)
			}
			if !bytes.Equal(f.read(f.files.Key), id.KeyPEM()) || !bytes.Equal(f.read(f.files.Cert), id.CertPEM()) {
				t.Error("their files are gone")
			}
		})
	}
}

func TestWhatIsStagedCountsForAnHour(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	f.stage()
	if due := f.Due(24 * time.Hour).Sub(f.now); due > time.Hour {
		t.Errorf("it is looked at in %v", due)
	}
	before := f.read(f.files.Cert)
	if _, _, err := f.Commit(f.now.Add(time.Hour)); !errors.Is(err, identity.ErrNothingStaged) {
		t.Errorf("commit after an hour: %v", err)
	}
	if f.State().Staged != nil || !bytes.Equal(f.read(f.files.Cert), before) {
		t.Error("it is still staged, or was committed")
	}
}

func TestACommitThatFailsSaysWhatItWasToWrite(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	p, _ := f.parts()
	p.CA = f.ca.PEM()
	_, err := f.Stage(p, "uid 0", f.now)
	must(t, errors.Join(err, os.Remove(f.files.Key), os.Mkdir(f.files.Key, 0o700)))
	_, paths, err := f.Commit(f.now)
	if want := []string{f.files.CA, f.files.Key, f.files.Cert}; err == nil || !slices.Equal(paths, want) {
		t.Errorf("%q, %v; want %q", paths, err, want)
	}
}

func TestFilesAreExchangedWhereOnlyLinksCanDoIt(t *testing.T) {
	dir := t.TempDir()
	a, b := dir+"/a", dir+"/b"
	must(t, errors.Join(os.WriteFile(a, []byte("1"), 0o600), os.WriteFile(b, []byte("2"), 0o600), identity.ExchangeByLink(a, b)))
	f := fixture{tb: t, files: tlstest.Files{Dir: dir}}
	if string(f.read(a))+string(f.read(b)) != "21" || f.listing() != "a b" {
		t.Errorf("a has %q, b %q; the directory has %s", f.read(a), f.read(b), f.listing())
	}
}

const asNobody = "MTLSPROXY_TEST_COMMIT_IN"

// The files are root's, and the daemon is of the group that may write to the directory:
// where fs.protected_hardlinks is set, it may not make links to them.
func TestADaemonCommitsToADirectoryOfItsGroup(t *testing.T) {
	if dir := os.Getenv(asNobody); dir != "" {
		commitIn(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP it takes root to give the files to somebody else")
	}
	const nobody = 65534
	f := newFixture(t, tlstest.LeafOptions{})
	p, _ := f.parts()
	tlstest.WriteFile(t, filepath.Join(f.files.Dir, "new.crt"), p.Cert, 0o644)
	tlstest.WriteFile(t, filepath.Join(f.files.Dir, "new.key"), p.Key, 0o644)
	for _, path := range []string{f.files.Dir, f.files.Key, f.files.Cert, f.files.CA} {
		must(t, os.Chown(path, 0, nobody))
	}
	must(t, errors.Join(os.Chmod(f.files.Key, 0o640), os.Chmod(f.files.Dir, 0o770|os.ModeSetgid)))
	for dir := filepath.Dir(f.files.Dir); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestADaemonCommitsToADirectoryOfItsGroup$", "-test.v")
	cmd.Env = []string{asNobody + "=" + f.files.Dir, "GOCOVERDIR=" + os.TempDir()}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if len(out) == 0 && err != nil {
		t.Skipf("SKIP this process may not start another under uid %d: %v", nobody, err)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Equal(f.read(f.files.Key), p.Key) || !bytes.Equal(f.read(f.files.Cert), p.Cert) {
		t.Error("it is not in place")
	}
}

// commitIn stages what is called new in dir, and commits it.
func commitIn(t *testing.T, dir string) {
	f := fixture{tb: t, now: time.Now(), files: tlstest.Files{Dir: dir, Cert: dir + "/client.crt", Key: dir + "/client.key", CA: dir + "/ca.crt"}}
	f.Identity = identity.New(f.paths(), "")
	f.try(0)
	if _, err := f.Stage(identity.Parts{Cert: f.read(dir + "/new.crt"), Key: f.read(dir + "/new.key")}, "uid 0", f.now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Commit(f.now); err != nil {
		t.Fatal(err)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
