package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// checkCmd does all that a start does, short of listening.
type checkCmd struct {
	source
	JSON bool `name:"json" help:"Print JSON." group:"Other"`
}

// checked is what check prints as JSON.
type checked struct {
	OK       bool             `json:"ok"`
	Errors   []string         `json:"errors,omitempty"`
	Settings []config.Setting `json:"settings,omitempty"`
}

// Run prints the effective configuration, or all that is wrong with it.
func (c *checkCmd) Run(w world) error {
	conf, err := c.load(w)
	if err == nil {
		err = build(conf)
	}
	if c.JSON {
		return c.printJSON(w.stdout, conf, err)
	}
	if err != nil {
		return err
	}
	return printTable(w.stdout, conf.Settings())
}

// build makes the service and throws it away: the files the configuration names
// are read and checked on the way.
func build(conf *config.Config) error {
	s, err := service.Build(conf, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

func (c *checkCmd) printJSON(w io.Writer, conf *config.Config, problem error) error {
	out := checked{OK: problem == nil}
	if problem != nil {
		out.Errors = lines(problem)
	}
	if conf != nil {
		out.Settings = conf.Settings()
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if problem != nil {
		return quiet{problem}
	}
	return nil
}

// quiet is an error that was printed already; only its exit code is left to give.
type quiet struct{ error }

// Unwrap returns the error.
func (q quiet) Unwrap() error { return q.error }

func printTable(w io.Writer, settings []config.Setting) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		if _, err := fmt.Fprintf(t, "%s\t= %s\t# %s\n", s.Key, s.Value, s.Source); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	return t.Flush()
}
