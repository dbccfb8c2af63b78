package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// levelCmd shows or sets the level of events.
type levelCmd struct {
	Level string `arg:"" optional:"" help:"debug, info, warn or error. It holds until the daemon ends."`
}

var levels = []string{"debug", "info", "warn", "error"}

// Run shows or sets it.
func (c *levelCmd) Run(x *control) error {
	question := x.client.Level
	if c.Level != "" {
		if !slices.Contains(levels, c.Level) {
			return usageError{fmt.Sprintf("LEVEL: not a level (got %q, want %s)", c.Level, strings.Join(levels, ", "))}
		}
		question = func(ctx context.Context) (api.Level, error) { return x.client.SetLevel(ctx, c.Level) }
	}
	return ask(x, question, func(w io.Writer, l api.Level) error { return say(w, text.Safe(l.Level)+"\n") })
}
