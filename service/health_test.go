package service

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func TestBadFilesAndANearEndAreBothToldOf(t *testing.T) {
	ca, begin := tlstest.NewCA(t, tlstest.CAOptions{}), time.Now()
	for name, c := range map[string]struct {
		end   time.Time
		want  []string
		never string
	}{
		"near":    {begin.Add(time.Hour), []string{"the certificate of before serves on", "expires on"}, "expired"},
		"reached": {begin.Add(-time.Minute), []string{"expired on", "its files cannot be used"}, "serves on"},
	} {
		t.Run(name, func(t *testing.T) {
			begin := begin.Add(-24 * time.Hour)
			f := ca.Issue(t, tlstest.LeafOptions{NotBefore: begin, NotAfter: c.end}).WriteFiles(t, "", ca)
			id := identity.New(tlsclient.Identity{Name: "default", Cert: f.Cert, Key: f.Key, CA: f.CA}, "")
			id.Take(id.Try(begin.Add(time.Hour)))
			if err := errors.Join(id.State().Err, os.Truncate(f.Cert, 0)); err != nil {
				t.Fatal(err)
			}
			for _, at := range []time.Time{begin.Add(2 * time.Hour), begin.Add(3 * time.Hour)} {
				id.Take(id.Try(at))
			}
			state := id.State()
			i := api.Identity{Name: "default", State: identityState(&state, time.Now())}
			describeLoaded(&i, &state)
			describeFiles(&i, &state)
			var d diagnosis
			d.identities(&world{identities: map[string]*member{"default": {Identity: id}}}, []api.Identity{i})
			var all []string
			for _, r := range d.reasons {
				all = append(all, r.Message)
			}
			text := strings.Join(all, "\n")
			if len(all) != len(c.want) || !strings.Contains(all[0], c.want[0]) || !strings.Contains(all[1], c.want[1]) || strings.Contains(text, c.never) {
				t.Errorf("it says:\n%s\nwant %q in turn", text, c.want)
			}
		})
	}
}
