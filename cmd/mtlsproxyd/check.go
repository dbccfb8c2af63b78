package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
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

For a configuration of a service, root reads the files as the service's user too. What
systemd passes to the service alone, mtlsproxyctl check sees: it asks the running daemon.

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
	conf, notes, err := c.inspect(w)
	if c.JSON {
		return c.printJSON(w.stdout, conf, notes, err)
	}
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w.stdout, align(conf.TOML())); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	for _, note := range notes {
		say(w.stderr, "note: "+note+"\n")
	}
	return nil
}

// inspect loads the configuration and all files it names, for whoever runs this and for
// the service that will.
func (c *checkCmd) inspect(w world) (*config.Config, []string, error) {
	u := c.unit(w)
	conf, notes, err := c.look(w, u)
	return conf, notes, u.notForStrangers(err)
}

func (c *checkCmd) look(w world, u *unit) (*config.Config, []string, error) {
	secret := credentials(w, u)
	there := w // where the service will be
	if secret != "" {
		there.env = append(slices.Clone(w.env), credentialsVariable+"="+secret)
	}
	conf, err := c.load(there)
	if err != nil {
		return nil, nil, err
	}
	notes := append(notes(conf), fewFiles(u, conf)...)
	if keys := keysIn(conf, secret); len(keys) > 0 {
		notes = append(notes, fmt.Sprintf("%s: only systemd sets %s, for the service alone, so only the running daemon can check what is there: mtlsproxyctl check", strings.Join(keys, ", "), credentialsVariable))
	}
	told, err := build(conf, secret)
	notes = append(notes, told...)
	if err != nil || u == nil {
		return conf, notes, err
	}
	more, err := c.checkFor(w, u, conf)
	return conf, append(notes, more...), err
}

// credentialsVariable is systemd's, systemd.exec(5).
const credentialsVariable = "CREDENTIALS_DIRECTORY"

// unit is the service that will run with this configuration, as far as one can tell: its
// flags name no more than a file and some values.
func (c *checkCmd) unit(w world) *unit {
	one := c.Upstream + c.Cert + c.Key + c.CA + c.ServerName
	if w.unit == nil || one != "" || len(c.Listen) > 0 {
		return nil
	}
	return w.unit(c.file())
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

// fewFiles tells of a bound on open files that leaves room for too few connections: that of
// the service, or else of whoever runs this.
func fewFiles(u *unit, c *config.Config) []string {
	files, of := uint64(0), "this process"
	if u != nil {
		files, of = u.files, u.name
	} else if own := new(syscall.Rlimit); syscall.Getrlimit(syscall.RLIMIT_NOFILE, own) == nil {
		files = own.Cur
	}
	if files == 0 {
		return nil
	}
	if text := service.TooFewFiles(files, c); text != "" {
		return []string{of + ": " + text}
	}
	return nil
}

// build makes the service and throws it away: the files the configuration names
// are read and checked on the way. Those in the directory secret may be missing. It
// returns what is to be noted.
func build(conf *config.Config, secret string) (notes []string, err error) {
	some := *conf
	if within(some.Metrics.TokenFile, secret) {
		some.Metrics.TokenFile = ""
	}
	notes, err = tryBuild(&some, true)
	if err == nil || secret == "" {
		return notes, err
	}
	lines := service.Lines(err)
	left := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.Contains(line, secret+"/") })
	switch len(left) {
	case len(lines):
		return nil, err
	case 0: // what comes after the identities was not looked at
		return tryBuild(&some, false)
	}
	return nil, wrongConfig(left)
}

func tryBuild(conf *config.Config, strict bool) ([]string, error) {
	s, err := service.Build(service.Options{Config: conf, Strict: strict, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Notes(), nil
}

// credentials is where systemd will put the credentials of the service, or "" if the
// environment tells where they are.
func credentials(w world, u *unit) string {
	if sd.CredentialsDirectory(w.getenv) != "" {
		return ""
	}
	name := "mtlsproxy.service"
	if u != nil {
		name = u.name
	}
	return "/run/credentials/" + name
}

// keysIn returns the keys whose values lie in a directory.
func keysIn(conf *config.Config, dir string) []string {
	var keys []string
	for _, s := range conf.Settings() {
		if dir != "" && strings.Contains(s.Value, `"`+dir+"/") {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

func within(path, dir string) bool { return dir != "" && strings.HasPrefix(path, dir+"/") }

func (c *checkCmd) printJSON(w io.Writer, conf *config.Config, notes []string, problem error) error {
	out := checked{OK: problem == nil}
	if problem != nil {
		out.Errors = service.Lines(problem)
	}
	if conf != nil {
		out.Notes = notes
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
