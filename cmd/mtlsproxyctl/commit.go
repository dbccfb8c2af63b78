package main

import (
	"context"
	"fmt"
	"io"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// certsCommitCmd puts what is staged in place.
type certsCommitCmd struct {
	Identity string `arg:"" help:"Whose staged files they are."`
}

// Help is the second half of --help.
func (certsCommitCmd) Help() string {
	return `The daemon writes the files to where the identity lives, whole or not at all, and
loads them: new connections show the new certificate from then on, and old ones end
as after any other change of the files. Where it may not write, nothing changes, and
it says which file to copy where.`
}

// Run commits.
func (c *certsCommitCmd) Run(x *control) error {
	question := func(ctx context.Context) (api.Committed, error) { return x.client.Commit(ctx, c.Identity) }
	return ask(x, question, func(w io.Writer, v api.Committed) error {
		out := text.Safe(v.Message) + "\n" + indented(v.Files, "  ")
		return say(w, out+fmt.Sprintf("generation %d, valid until %s\n", v.Generation, x.until(&v.Certificate)))
	})
}

// certsAbortCmd makes the daemon forget what is staged.
type certsAbortCmd struct {
	Identity string `arg:"" help:"Whose staged files they are."`
}

// Run aborts.
func (c *certsAbortCmd) Run(x *control) error {
	question := func(ctx context.Context) (api.Changed, error) { return x.client.Abort(ctx, c.Identity) }
	return ask(x, question, writeChanged)
}
