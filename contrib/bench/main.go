// Command bench compares mtlsproxyd with nginx and HAProxy, each as a plain HTTP → mutual-TLS
// proxy in front of the same upstream, on the machine it runs on. See README.md beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == loadCommand {
		return report(stderr, generate(args[1], stdin, stdout))
	}
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.profile != "" {
		return report(stderr, profile(ctx, o, stdout))
	}
	return report(stderr, compare(ctx, o, stdout))
}

func report(stderr io.Writer, err error) int {
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}

// compare measures everything that was asked for and reports it. After a failure it still
// prints what it has, but writes no files.
func compare(ctx context.Context, o options, stdout io.Writer) (err error) {
	b, err := newBench(ctx, o, stdout)
	defer func() { err = errors.Join(err, b.close()) }()
	if err != nil {
		return err
	}
	err = b.measure(ctx)
	if len(b.results.values) > 0 {
		fmt.Fprint(stdout, "\n", textReport(b.results))
	}
	if err != nil {
		return err
	}
	if o.out == "" {
		b.say("\nnot a full run: RESULTS.md is not written (-out says where to)")
		return nil
	}
	return writeReport(b.results, o)
}

func writeReport(r *results, o options) error {
	notes, err := os.ReadFile(o.notes)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading notes: %w", err)
	}
	files := map[string]string{
		"RESULTS.md":  markdownReport(r, string(notes)),
		"results.svg": plot(r),
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("making %q: %w", o.out, err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(o.out, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
	return nil
}
