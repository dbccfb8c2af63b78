package identity_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// tended starts to tend an identity, and returns what is tried.
func tended(t *testing.T, f *fixture, every time.Duration) (*identity.Tender, <-chan []string) {
	t.Helper()
	tries := make(chan []string, 100)
	d := &identity.Tender{Log: slog.New(slog.DiscardHandler)}
	d.Try = func(names []string) {
		f.Take(f.Try(time.Now()))
		f.Report(slog.New(slog.DiscardHandler), time.Now())
		tries <- names
	}
	d.Start()
	t.Cleanup(d.Close)
	d.Set([]*identity.Identity{f.Identity}, every)
	return d, tries
}

// expect waits for a try of the identity.
func expect(t *testing.T, tries <-chan []string, why string) {
	t.Helper()
	select {
	case names := <-tries:
		if !slices.Equal(names, []string{"billing"}) {
			t.Fatalf("%s: tried %q", why, names)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not tried", why)
	}
}

func TestATenderTriesWhatIsNewToIt(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	_, tries := tended(t, f, time.Hour)
	expect(t, tries, "set")
}

func TestATenderTriesWhatHasChanged(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	_, tries := tended(t, f, time.Hour)
	expect(t, tries, "set")
	serial := f.renew()
	for f.Generation().Serial() != serial {
		expect(t, tries, "renewed")
	}
}

func TestATenderTriesWhatIsAskedFor(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	d, tries := tended(t, f, time.Hour)
	expect(t, tries, "set")
	d.Ask("billing")
	expect(t, tries, "asked")
	d.Ask("shipping")
	select {
	case names := <-tries:
		t.Errorf("tried %q for an identity that is not there", names)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestATenderTriesWhatIsDue(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	_, tries := tended(t, f, 100*time.Millisecond)
	for range 3 {
		expect(t, tries, "due")
	}
}

func TestATenderWatchesAnotherSet(t *testing.T) {
	f, other := newFixture(t, tlstest.LeafOptions{}), newFixture(t, tlstest.LeafOptions{})
	d, tries := tended(t, f, time.Hour)
	expect(t, tries, "set")
	d.Set([]*identity.Identity{other.Identity}, time.Hour)
	expect(t, tries, "set anew")
	watched := d.Watched()
	if len(watched.Paths) != 3 || watched.Paths[0].Path != other.files.Cert {
		t.Errorf("it watches %+v", watched.Paths)
	}
}

// Others may be set between the moment when it watches and the one when it looks at what
// is due.
func TestATenderTriesWhatItHasJustBegunToWatch(t *testing.T) {
	f, other := newFixture(t, tlstest.LeafOptions{}), newFixture(t, tlstest.LeafOptions{})
	f.try(0)
	other.try(0)
	d := &identity.Tender{Log: slog.New(slog.DiscardHandler)}
	d.Prepare()
	t.Cleanup(d.Close)
	d.Set([]*identity.Identity{f.Identity}, time.Hour)
	d.Watch()
	d.Set([]*identity.Identity{other.Identity}, time.Hour)
	d.Due(time.Now())
	// Whatever was tried until now, its files may have changed since.
	d.Watch()
	if names := d.Due(time.Now()); !slices.Equal(names, []string{"billing"}) {
		t.Errorf("tried are %q", names)
	}
}
