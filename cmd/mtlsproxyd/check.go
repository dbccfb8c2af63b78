package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// checkCmd does all that a start does, short of listening.
type checkCmd struct {
	source
	JSON bool `name:"json" help:"Print JSON: ok, errors, notes, settings." group:"Other:"`
}

// Help is the second half of --help.
func (checkCmd) Help() string {
	return `It does all that a start does, short of listening. The values are printed as a
configuration file, each with where it comes from; errors go to standard error, one
line each, and make it exit with 78.

  mtlsproxyd check
  mtlsproxyd check --config ./mtlsproxy.toml --set drain.timeout=5s
  mtlsproxyd check --json | jq .errors`
}

// checked is what check prints as JSON.
type checked struct {
	OK       bool      `json:"ok"`
	Notes    []string  `json:"notes,omitempty"`
	Errors   []string  `json:"errors,omitempty"`
	Settings []setting `json:"settings,omitempty"`
}

type setting struct {
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value"`
	Source string          `json:"source"`
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
	if _, err := io.WriteString(w.stdout, align(conf.TOML())); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	for _, note := range notes(conf) {
		say(w.stderr, "note: "+note+"\n")
	}
	return nil
}

// notes tell what the configuration leaves to others, which is no mistake in it.
func notes(c *config.Config) []string {
	var out []string
	if len(c.Routes) == 0 {
		out = append(out, "there is no route, so every request will be answered with 503")
	}
	if len(c.Listeners) == 0 {
		out = append(out, "there is no listener; the service manager must pass the sockets, as mtlsproxy.socket does")
	}
	return out
}

// build makes the service and throws it away: the files the configuration names
// are read and checked on the way.
func build(conf *config.Config) error {
	s, err := service.Build(service.Options{Config: conf, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

func (c *checkCmd) printJSON(w io.Writer, conf *config.Config, problem error) error {
	out := checked{OK: problem == nil}
	if problem != nil {
		out.Errors = service.Lines(problem)
	}
	if conf != nil {
		out.Notes = notes(conf)
		for _, s := range conf.Settings() {
			out.Settings = append(out.Settings, setting{s.Key, jsonValue(s.Value), s.Source})
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if problem != nil {
		return quiet{problem}
	}
	return nil
}

// jsonValue is a TOML value as JSON. They are the same but for escapes of rare
// characters, which stay TOML, in a string.
func jsonValue(toml string) json.RawMessage {
	if json.Valid([]byte(toml)) {
		return json.RawMessage(toml)
	}
	text, err := json.Marshal(toml)
	if err != nil {
		panic("BUG: a string is no JSON: " + err.Error())
	}
	return text
}

// quiet is an error that was printed already; only its exit code is left to give.
type quiet struct{ error }

// Unwrap returns the error.
func (q quiet) Unwrap() error { return q.error }

// align lines up the values and the comments of every table of a TOML file that
// has one key on a line. Long values do not push the comments of all others away.
func align(toml string) string {
	const widest = 44
	var out strings.Builder
	for table := range strings.SplitSeq(toml, "\n\n") {
		keys, values := 0, 0
		for line := range strings.Lines(table) {
			if key, value, _, ok := parts(line); ok {
				keys = max(keys, utf8.RuneCountInString(key))
				if n := utf8.RuneCountInString(value); n <= widest {
					values = max(values, n)
				}
			}
		}
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		for line := range strings.Lines(table) {
			if key, value, comment, ok := parts(line); ok {
				fmt.Fprintf(&out, "%-*s = %-*s  # %s\n", keys, key, values, value, comment)
			} else {
				fmt.Fprintln(&out, strings.TrimSpace(line))
			}
		}
	}
	return out.String()
}

// parts takes a line of TOML apart: key = value  # comment.
func parts(line string) (key, value, comment string, ok bool) {
	line = strings.TrimSuffix(line, "\n")
	i := strings.LastIndex(line, "  # ")
	if i < 0 || strings.HasPrefix(line, "[") {
		return "", "", "", false
	}
	key, value, ok = strings.Cut(line[:i], " = ")
	return key, value, line[i+len("  # "):], ok
}
