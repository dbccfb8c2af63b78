package identity_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fixture is an identity on disk, with an authority to renew it.
type fixture struct {
	*identity.Identity
	tb    testing.TB
	ca    *tlstest.CA
	files tlstest.Files
	log   book
	now   time.Time
}

func newFixture(tb testing.TB, o tlstest.LeafOptions) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, ca: tlstest.NewCA(tb, tlstest.CAOptions{NotAfter: time.Now().AddDate(2, 0, 0)}), now: time.Now()}
	f.files = f.ca.Issue(tb, o).WriteFiles(tb, "", f.ca)
	f.Identity = identity.New(f.paths(), "")
	return f
}

func (f *fixture) paths() tlsclient.Identity {
	return tlsclient.Identity{Name: "billing", Cert: f.files.Cert, Key: f.files.Key, CA: f.files.CA}
}

// renew puts another pair in place and returns its serial.
func (f *fixture) renew() string {
	f.tb.Helper()
	id := f.ca.Client(f.tb, "app")
	id.WriteFiles(f.tb, f.files.Dir, f.ca)
	return id.Serial()
}

// halve leaves a certificate without its end.
func (f *fixture) halve() {
	f.tb.Helper()
	pem, err := os.ReadFile(f.files.Cert)
	if err != nil {
		f.tb.Fatal(err)
	}
	tlstest.WriteFile(f.tb, f.files.Cert, pem[:len(pem)/2], 0o644)
}

// try tries the files after some time, takes what is found, and reports.
func (f *fixture) try(after time.Duration) (swapped bool) {
	f.tb.Helper()
	f.now = f.now.Add(after)
	swapped = f.Take(f.Try(f.now))
	f.Report(slog.New(&f.log), f.now)
	return swapped
}

// dueIn is how long until it is due, in one minute if all is well.
func (f *fixture) dueIn() time.Duration { return f.Due(time.Minute).Sub(f.now) }

func TestFilesThatSayTheSameKeepTheGeneration(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	if !f.try(0) {
		t.Fatal("the first loading is no swap")
	}
	first := f.Generation()
	if f.try(time.Minute) || f.Generation() != first {
		t.Error("the same files made another generation")
	}
	if s := f.State(); !s.Checked.Equal(f.now) || s.Changed.Equal(f.now) {
		t.Errorf("checked %v, changed %v, at %v", s.Checked, s.Changed, f.now)
	}
}

func TestTryChangesNothing(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	first := f.State()
	f.renew()
	if found := f.Try(f.now); found.Err != nil || found.Generation == first.Generation {
		t.Fatalf("found %+v", found)
	}
	if now := f.State(); now.Generation != first.Generation || now.Disk != first.Disk {
		t.Errorf("%+v after a try, was %+v", now, first)
	}
}

func TestARotationIsTheNextGeneration(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	serial := f.renew()
	if !f.try(time.Second) {
		t.Fatal("no swap")
	}
	if g := f.Generation(); g.Number != 2 || g.Serial() != serial {
		t.Errorf("generation %d with serial %s, want 2 with %s", g.Number, g.Serial(), serial)
	}
}

func TestWhatCannotBeUsedLeavesTheGenerationInUse(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	g := f.Generation()
	f.halve()
	if f.try(time.Second) || f.Generation() != g {
		t.Error("a broken file made a swap")
	}
	s := f.State()
	if s.Err == nil || !strings.Contains(s.Err.Error(), f.files.Cert) || !s.Since.Equal(f.now) {
		t.Errorf("failing since %v: %v; want the path %s", s.Since, s.Err, f.files.Cert)
	}
	if n := s.Failures[tlsclient.ReasonOf(s.Err)]; n != 1 {
		t.Errorf("counted %d failures, want 1", n)
	}
}

func TestTheCertificateOnDiskIsKnownAlthoughItsKeyIsMissing(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	serial := f.renew()
	if err := os.Remove(f.files.Key); err != nil {
		t.Fatal(err)
	}
	f.try(time.Second)
	if s := f.State(); s.Disk == nil || s.Disk.SerialNumber.Text(16) != serial || s.Generation.Serial() == serial {
		t.Errorf("on disk %v, in use %s; want %s on disk only", s.Disk, s.Generation.Serial(), serial)
	}
}

func TestRetriesComeQuicklyThenRarely(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	if d := f.dueIn(); d != time.Minute {
		t.Fatalf("due in %v while all is well", d)
	}
	f.halve()
	var got []time.Duration
	for range 8 {
		f.try(f.dueIn())
		got = append(got, f.dueIn())
	}
	want := []time.Duration{
		500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 1500 * time.Millisecond,
		30 * time.Second, 30 * time.Second, 30 * time.Second,
	}
	if !slices.Equal(got, want) {
		t.Errorf("retries after %v, want %v", got, want)
	}
	f.renew()
	f.try(time.Second)
	if d := f.dueIn(); d != time.Minute {
		t.Errorf("due in %v after it was mended", d)
	}
}

func TestTroubleIsToldOnceItHasLastedTenSeconds(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	f.log.take()
	f.halve()
	for sum := time.Duration(0); sum < 10*time.Second; sum += f.dueIn() {
		if s := f.State(); s.Lasting {
			t.Fatalf("it counts as lasting after %v", sum)
		}
		f.try(f.dueIn())
		if told := f.log.take(); told != nil && f.now.Sub(f.State().Since) < 10*time.Second {
			t.Fatalf("told %q after %v", told, f.now.Sub(f.State().Since))
		}
	}
	f.try(f.dueIn())
	f.try(f.dueIn())
	if !f.State().Lasting {
		t.Error("it does not count as lasting")
	}
	f.log.take()
	f.renew()
	f.try(time.Second)
	if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_loaded ") {
		t.Errorf("told %q once it was mended", told)
	}
}

func TestTroubleIsToldOnce(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	f.log.take()
	f.halve()
	f.try(time.Second)
	for range 5 {
		f.try(11 * time.Second)
	}
	if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_rejected ") || !strings.Contains(told[0], f.files.Cert) {
		t.Fatalf("told %q", told)
	}
	if err := os.Remove(f.files.CA); err != nil {
		t.Fatal(err)
	}
	f.renew()
	if err := os.Remove(f.files.CA); err != nil {
		t.Fatal(err)
	}
	f.try(11 * time.Second)
	if told := f.log.take(); len(told) != 1 || !strings.Contains(told[0], f.files.CA) {
		t.Errorf("told %q of another trouble", told)
	}
}

// However often they changed, and were tried, in between.
func TestFilesThatKeepChangingAreToldOfAfterTenSeconds(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	f.halve()
	for range 6 {
		f.try(500 * time.Millisecond)
	}
	if late := f.Due(time.Minute).Sub(f.State().Since); late > 10*time.Second {
		t.Errorf("tried again %v after the first failure", late)
	}
}

func TestFilesThatAreRestoredAreToldOf(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	if err := os.Chmod(f.files.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	f.try(time.Second)
	f.try(11 * time.Second)
	f.log.take()
	if err := os.Chmod(f.files.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	if f.try(time.Second) {
		t.Error("the same files made another generation")
	}
	if told := f.log.take(); len(told) != 1 || !strings.Contains(told[0], "can be used again") {
		t.Errorf("told %q", told)
	}
}

func TestAnIdentityThatWasNeverLoadedIsToldOfAtOnce(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.halve()
	f.try(0)
	if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_rejected ") {
		t.Errorf("told %q", told)
	}
	if s := f.State(); !s.Lasting || s.Generation != nil {
		t.Errorf("%+v", s)
	}
}

func TestOtherPathsWithTheSameContentKeepTheGeneration(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	g := f.Generation()
	moved := filepath.Join(f.files.Dir, "moved.crt")
	if err := os.Rename(f.files.Cert, moved); err != nil {
		t.Fatal(err)
	}
	f.files.Cert = moved
	f.Identity = f.With(f.paths(), "")
	if f.try(time.Second) || f.Generation() != g {
		t.Error("another path made another generation")
	}
	f.renew()
	pem, err := os.ReadFile(filepath.Join(f.files.Dir, "client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	tlstest.WriteFile(t, moved, pem, 0o644)
	if !f.try(time.Second) || f.Generation().Number != 2 {
		t.Error("the generations are not numbered on")
	}
}

// book keeps what is logged: the event, the text and all values.
type book struct {
	mu    sync.Mutex
	lines []string
}

func (b *book) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

func TestAChangeFromOneBadFileToAnotherIsAChange(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	f.halve()
	f.try(time.Second)
	f.try(time.Second)
	if s := f.State(); s.Changed.Equal(f.now) {
		t.Error("the same bad file is a change")
	}
	f.ca.Issue(t, tlstest.LeafOptions{}).WriteFiles(t, f.files.Dir, f.ca)
	tlstest.WriteFile(t, f.files.Key, nil, 0o600)
	f.try(time.Second)
	if s := f.State(); !s.Changed.Equal(f.now) {
		t.Errorf("changed %v, at %v", s.Changed, f.now)
	}
}
