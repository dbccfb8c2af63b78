package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const (
	manDir         = "../../man"
	completionsDir = "../../contrib/completions"
)

// entry is one of the manual's lists: a term, and what is said of it.
type entry struct{ term, text string }

// readManual returns the entries of the manual by the titles of its sections.
func readManual(t *testing.T) map[string][]entry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(manDir, "mtlsproxyctl.1.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string][]entry{}
	lines := strings.Split(string(data), "\n")
	title, current := "", -1
	for i, line := range lines {
		switch heading := strings.TrimLeft(line, "#"); {
		case heading != line:
			title, current = strings.TrimSpace(heading), -1
			sections[title] = nil
		case i+1 < len(lines) && strings.HasPrefix(lines[i+1], ":   "):
			sections[title] = append(sections[title], entry{term: line})
			current = len(sections[title]) - 1
		case current >= 0 && (line == "" || strings.HasPrefix(line, ":   ") || strings.HasPrefix(line, "    ")):
			sections[title][current].text += strings.TrimLeft(line, ": ") + "\n"
		default:
			current = -1
		}
	}
	return sections
}

func newParser(t *testing.T) *kong.Kong {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, c.options(world{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, func(int) {})...)
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// commandTitle is the heading under which the manual has a command.
func commandTitle(n *kong.Node) string {
	title := n.Name
	for p := n.Parent; p.Type == kong.CommandNode; p = p.Parent {
		title = p.Name + " " + title
	}
	for _, a := range n.Positional {
		name := strings.ToUpper(a.Name)
		if !a.Required {
			name = "[" + name + "]"
		}
		title += " " + name
	}
	return title
}

// documented returns the flags that a section explains: how each is written, and what
// is said of it.
func documented(list []entry) map[string]string {
	flags := map[string]string{}
	for _, e := range list {
		short := ""
		for _, m := range regexp.MustCompile(`\*\*(-[-a-z0-9]+)\*\*(\[=|=)?`).FindAllStringSubmatch(e.term, -1) {
			if !strings.HasPrefix(m[1], "--") {
				short = m[1] + ", "
				continue
			}
			flags[short+m[1]+m[2]] = e.text
			short = ""
		}
	}
	return flags
}

// written is how the manual writes a flag.
func written(f *kong.Flag) string {
	out := "--" + f.Name
	if f.Short != 0 {
		out = "-" + string(f.Short) + ", " + out
	}
	switch {
	case !f.IsBool():
		out += "="
	case f.Target.Type() == reflect.TypeFor[every](): // its value may be left out
		out += "[="
	}
	return out
}

// flagsBySection returns all flags by the section of the manual that they belong to,
// and the titles of all commands.
func flagsBySection(t *testing.T) (flags map[string]map[string]*kong.Flag, titles []string) {
	t.Helper()
	app := newParser(t).Model
	flags = map[string]map[string]*kong.Flag{"OPTIONS": {}, "Which records": {}}
	for _, f := range app.Flags {
		flags["OPTIONS"][written(f)] = f
	}
	for _, n := range app.Leaves(true) {
		title := commandTitle(n)
		titles = append(titles, title)
		flags[title] = map[string]*kong.Flag{}
		for _, f := range n.Flags {
			section := title
			if f.Group != nil {
				section = strings.TrimSuffix(f.Group.Key, ":")
			}
			flags[section][written(f)] = f
		}
	}
	return flags, titles
}

func TestManualHasEveryCommandAndFlag(t *testing.T) {
	page := readManual(t)
	flags, titles := flagsBySection(t)
	for _, title := range titles {
		if _, ok := page[title]; !ok {
			t.Errorf("the command %q has no section", title)
		}
	}
	for section, want := range flags {
		got := documented(page[section])
		for term, f := range want {
			text, ok := got[term]
			if !ok {
				t.Errorf("%s has no entry under %q", term, section)
			}
			for _, word := range append(strings.Split(f.Enum, ","), f.Default) {
				if word != "" && !strings.Contains(text, "*"+word+"*") {
					t.Errorf("the entry of %s under %q does not say %q", term, section, word)
				}
			}
		}
		for term := range got {
			if want[term] == nil {
				t.Errorf("%q explains %s, which does not exist", section, term)
			}
		}
	}
	for section := range page {
		if flags[section] == nil && section != strings.ToUpper(section) {
			t.Errorf("%q is explained, and is no command", section)
		}
	}
}

func TestManualHasTheExitCodes(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\texit[A-Z]\w*\s+= (\d+)`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, "**"+m[1]+"**")
	}
	for _, e := range readManual(t)["EXIT STATUS"] {
		got = append(got, e.term)
	}
	if len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("the manual has %v, main.go %v", got, want)
	}
}

// manualCommands are the commands that a manual shows: in its examples, and in bold
// where no placeholder follows.
func manualCommands(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^    mtlsproxyctl (.*)$`).FindAllStringSubmatch(text, -1) {
		command, _, _ := strings.Cut(m[1], " | ") // what takes its output is not ours
		out = append(out, command)
	}
	text = strings.Join(strings.Fields(text), " ")
	for _, m := range regexp.MustCompile(`\*\*mtlsproxyctl ([^*]+)\*\*( \*)?`).FindAllStringSubmatch(text, -1) {
		if m[2] == "" {
			out = append(out, m[1])
		}
	}
	return out
}

func TestManualCommandsParse(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(manDir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range manualCommands(string(data)) {
			words := strings.Fields(command)
			found[words[0]] = true
			_, err := newParser(t).Parse(words)
			if err != nil && err.Error() != `expected "<upstream[/endpoint]>"` { // a command that is only named
				t.Errorf("%s: mtlsproxyctl %s: %v", filepath.Base(page), command, err)
			}
		}
	}
	for _, verb := range []string{"status", "log", "reload", "check", "drain", "certs"} {
		if !found[verb] {
			t.Errorf("no example of %s, only of %v", verb, slices.Sorted(maps.Keys(found)))
		}
	}
}

// The scripts that are installed are those that the program prints.
func TestCompletionsAreWhatIsPrinted(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		path := filepath.Join(completionsDir, "mtlsproxyctl."+shell)
		printed := host{}.execute(t, "completion", shell).stdout
		if *update {
			if err := os.WriteFile(path, []byte(printed), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != printed {
			t.Errorf("%s is not what mtlsproxyctl completion %s prints (%v); go test -update writes it anew", path, shell, err)
		}
	}
}
