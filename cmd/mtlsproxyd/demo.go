package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/mtlsproxy/mtlsproxy/service/demo"
)

// demoCmd shows the daemon at work.
type demoCmd struct {
	Once   bool   `help:"End after the steps: with 0 if all went as they should, otherwise with 1."`
	Listen string `help:"Address the daemon listens on. Default: 127.0.0.1:8980, or a free port if that is taken." placeholder:"HOST:PORT"`

	upstream http.Handler // in the place of the demonstration's own; for tests
}

// Help is the second half of --help.
func (demoCmd) Help() string {
	return `It makes a certificate authority, an upstream that demands a client certificate,
and the daemon in front of it; sends requests, checks the answers and prints both;
then stays up for you to try more, until Ctrl-C. All of it is on 127.0.0.1 and in
a temporary directory, and is removed at the end.`
}

// Validate is called by the parser.
func (c *demoCmd) Validate() error {
	if c.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("--listen: not an address (got %q, want host:port such as 127.0.0.1:8980)", c.Listen)
	}
	return nil
}

// Run runs the demonstration.
func (c *demoCmd) Run(w world) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	err := demo.Run(demo.Options{
		Listen:   c.Listen,
		Once:     c.Once,
		Out:      w.stdout,
		Log:      slog.New(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Signals:  signals,
		Upstream: c.upstream,
	})
	if errors.Is(err, demo.ErrFailed) {
		return errors.Join(errFailed, err)
	}
	return err
}
