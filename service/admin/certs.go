package admin

import (
	"net/http"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// certificates are the rows through which an identity gets new files.
func certificates(b Certifier) []route {
	const post = http.MethodPost
	stage := change(post, "/v1/certs/stage", "Check new files of an identity, and keep them in memory", func(c *call, s api.Stage) (api.Staged, error) {
		return b.Stage(c.r.Context(), s, c.by())
	})
	stage.maxBody = api.MaxStage
	return []route{
		stage,
		act(post, "/v1/certs/probe", "Try a handshake with each endpoint of an identity or upstream, with what is staged if there is something", func(c *call, p api.ProbeOf) (out api.Probed, err error) {
			err = c.inTurn(c.r.Context(), &c.engine.probes, "other probes are under way", func() error {
				out, err = b.Probe(c.r.Context(), p.Name)
				return err
			})
			return out, err
		}),
		change(post, "/v1/certs/commit", "Write what is staged to where the identity lives, and load it", func(c *call, r api.IdentityRef) (api.Committed, error) {
			return b.Commit(c.r.Context(), r.Identity, c.by())
		}),
		change(post, "/v1/certs/abort", "Forget what is staged", func(_ *call, r api.IdentityRef) (api.Changed, error) {
			return b.Abort(r.Identity)
		}),
	}
}
