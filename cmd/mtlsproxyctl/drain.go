package main

import (
	"context"
	"io"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// target is what an order is about.
type target struct {
	Target string `arg:"" placeholder:"UPSTREAM[/ENDPOINT]" name:"upstream[/endpoint]" help:"An upstream with all its endpoints, or one of them: billing, or billing/10.0.0.1:8443."`
}

// order gives an order and prints what it did.
func (t target) order(x *control, give func(context.Context, api.Target) (api.Changed, error)) error {
	upstream, endpoint, err := split(t.Target)
	if err != nil {
		return err
	}
	question := func(ctx context.Context) (api.Changed, error) {
		return give(ctx, api.Target{Upstream: upstream, Endpoint: endpoint})
	}
	return ask(x, question, writeChanged)
}

// writeChanged prints what an order did.
func writeChanged(w io.Writer, c api.Changed) error {
	return say(w, text.Safe(c.Message)+"\n"+indented(c.Targets, "  "))
}

// drainCmd keeps new exchanges away from endpoints.
type drainCmd struct {
	target
}

// Help is the second half of --help.
func (drainCmd) Help() string {
	return `Exchanges under way finish. It holds until resume, or until the daemon ends.

  mtlsproxyctl drain billing/10.0.0.1:8443
  mtlsproxyctl upstreams --watch`
}

// Run drains.
func (c *drainCmd) Run(x *control) error { return c.order(x, x.client.Drain) }

// resumeCmd undoes drainCmd.
type resumeCmd struct {
	target
}

// Run resumes.
func (c *resumeCmd) Run(x *control) error { return c.order(x, x.client.Resume) }
