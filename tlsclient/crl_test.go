package tlsclient_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// listUntil is a list of ca's that runs out at end.
func listUntil(t *testing.T, ca *tlstest.CA, end time.Time) []byte {
	t.Helper()
	return ca.CRL(t, tlstest.CRLOptions{ThisUpdate: end.Add(-24 * time.Hour), NextUpdate: end})
}

// A daemon goes on with the list that it has, which the requests need.
func TestListThatHasRunOutIsNotTaken(t *testing.T) {
	now := time.Now()
	ours, former := tlstest.NewCA(t, tlstest.CAOptions{Name: "ours"}), tlstest.NewCA(t, tlstest.CAOptions{Name: "former"})
	soon, past, long := now.Add(time.Hour), now.Add(-time.Hour), now.Add(48*time.Hour)
	join := slices.Concat[[]byte]
	for name, c := range map[string]struct {
		before, next []byte    // before: nil for none in use
		at           time.Time // of the change
		refused      string    // the issuer; "" if it is taken
	}{
		"at the start":                        {nil, listUntil(t, ours, past), now, "ours"},
		"in place of a current one":           {listUntil(t, ours, soon), listUntil(t, ours, past), now, "ours"},
		"in place of one that has run out":    {listUntil(t, ours, soon), listUntil(t, ours, past), soon.Add(time.Minute), ""},
		"in place of the other issuer's":      {listUntil(t, former, soon), listUntil(t, ours, past), now, "ours"},
		"one of two, the other is in use":     {listUntil(t, former, soon), join(listUntil(t, ours, past), listUntil(t, former, soon)), now, ""},
		"one of two that were current":        {join(listUntil(t, ours, soon), listUntil(t, former, soon)), join(listUntil(t, ours, past), listUntil(t, former, soon)), now, "ours"},
		"that of former times, at the start":  {nil, join(listUntil(t, former, past), listUntil(t, ours, soon)), now, ""},
		"that of former times, both run out":  {join(listUntil(t, former, past), listUntil(t, ours, soon)), join(listUntil(t, former, past), listUntil(t, ours, long)), now, ""},
		"an older one beside the current one": {nil, join(listUntil(t, ours, past), listUntil(t, ours, soon)), now, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := ours.Client(t, "client").WriteFiles(t, "", ours)
			id := identity(f)
			id.CRL = f.CRL
			made := func(list []byte, inUse *tlsclient.Generation, at time.Time) (*tlsclient.Generation, error) {
				f.WriteCRL(t, list)
				m, err := id.Read()
				if err != nil {
					t.Fatal(err)
				}
				return id.MakeAfter(inUse, m, 1, at)
			}
			var inUse *tlsclient.Generation
			if c.before != nil {
				var err error
				if inUse, err = made(c.before, nil, now); err != nil {
					t.Fatal(err)
				}
			}
			_, err := made(c.next, inUse, c.at)
			if c.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			failure{tlsclient.ReasonExpired, f.CRL, "CN=" + c.refused + `" ran out on ` + past.UTC().Format(time.RFC3339)}.check(t, err)
		})
	}
}

func TestGenerationTellsWhenTheFirstOfItsListsRunsOut(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	ours, former := tlstest.NewCA(t, tlstest.CAOptions{Name: "ours"}), tlstest.NewCA(t, tlstest.CAOptions{Name: "former"})
	f := ours.Client(t, "client").WriteFiles(t, "", ours)
	if end := load(t, f, 1).CRLUntil(); !end.IsZero() {
		t.Errorf("without a list it says %v", end)
	}
	f.WriteCRL(t, slices.Concat(
		listUntil(t, ours, now.Add(time.Hour)), // the next one replaces it
		listUntil(t, ours, now.Add(3*time.Hour)),
		listUntil(t, former, now.Add(2*time.Hour)),
	))
	id := identity(f)
	id.CRL = f.CRL
	g, err := id.Load(1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Add(2 * time.Hour); !g.CRLUntil().Equal(want) {
		t.Errorf("got %v, want %v", g.CRLUntil(), want)
	}
}
