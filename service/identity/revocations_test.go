package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// With a list that has run out, no server would be accepted any more.
func TestAListThatHasRunOutLeavesTheOneInUse(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	list := func(end time.Time) []byte {
		return f.ca.CRL(t, tlstest.CRLOptions{ThisUpdate: end.Add(-24 * time.Hour), NextUpdate: end})
	}
	until := f.now.Add(time.Hour).Truncate(time.Second)
	f.files.WriteCRL(t, list(until))
	paths := f.paths()
	paths.CRL = f.files.CRL
	f.Identity = identity.New(paths, "")
	if !f.try(0) || !f.Generation().CRLUntil().Equal(until) {
		t.Fatalf("%v; it is until %v", f.State().Err, f.Generation().CRLUntil())
	}
	first := f.Generation()

	f.files.WriteCRL(t, list(f.now.Add(-time.Minute))) // with the certificate as it was
	if f.try(time.Second) || f.Generation() != first {
		t.Error("a list that has run out was taken")
	}
	if err := f.State().Err; tlsclient.ReasonOf(err) != tlsclient.ReasonExpired || !strings.Contains(err.Error(), "ran out on") {
		t.Errorf("it says %v", err)
	}

	f.files.WriteCRL(t, list(until.Add(time.Hour)))
	if !f.try(time.Second) || f.State().Err != nil {
		t.Errorf("a current one was not taken: %v", f.State().Err)
	}

	// Now that it has run out by itself, a new pair does not have to wait for a new list.
	f.renew()
	if !f.try(5*time.Hour) || f.State().Err != nil {
		t.Errorf("with a list that has run out in use: %v", f.State().Err)
	}
}
