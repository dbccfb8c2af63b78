package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// entry is one of a manual's lists: a term, and what is said of it.
type entry struct{ term, text string }

// manual is a page in Markdown: its sections with their entries.
type manual struct {
	titles  []string
	entries map[string][]entry // by the section's title
}

func readManual(t *testing.T, name string) manual {
	t.Helper()
	m := manual{entries: map[string][]entry{}}
	lines := strings.Split(readTop(t, "man/"+name), "\n")
	title, current := "", -1
	for i, line := range lines {
		switch heading := strings.TrimLeft(line, "#"); {
		case heading != line:
			title, current = strings.TrimSpace(heading), -1
			m.titles = append(m.titles, title)
		case i+1 < len(lines) && strings.HasPrefix(lines[i+1], ":   "):
			m.entries[title] = append(m.entries[title], entry{term: line})
			current = len(m.entries[title]) - 1
		case current >= 0 && (line == "" || strings.HasPrefix(line, ":   ") || strings.HasPrefix(line, "    ")):
			m.entries[title][current].text += strings.TrimLeft(line, ": ") + "\n"
		default:
			current = -1
		}
	}
	return m
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, c.options(world{stdout: io.Discard, stderr: io.Discard}, func(int) {})...)
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

// flagTerm is how the manual writes a flag.
func flagTerm(f *kong.Flag) string {
	term := "**--" + f.Name + "**"
	if f.Short != 0 {
		term = "**-" + string(f.Short) + "**, " + term
	}
	if !f.IsBool() {
		term += "="
	}
	return term
}

// flagSection is where the manual has a flag of a command.
func flagSection(command *kong.Node, f *kong.Flag) string {
	if f.Group != nil && f.Group.Key != "Other:" {
		return strings.TrimSuffix(f.Group.Key, ":")
	}
	return "For " + command.Name
}

func TestManualHasTheCommandLine(t *testing.T) {
	app, page := model(t), readManual(t, "mtlsproxyd.8.md")
	want := map[string]map[string]*kong.Flag{"OPTIONS": {}}
	for _, f := range app.Flags {
		want["OPTIONS"][flagTerm(f)] = f
	}
	for _, command := range app.Children {
		if !slices.Contains(page.titles, command.Name) {
			t.Errorf("the command %s has no section", command.Name)
		}
		for _, f := range command.Flags {
			section := flagSection(command, f)
			if !f.Hidden && want[section] == nil {
				want[section] = map[string]*kong.Flag{}
			}
			if !f.Hidden {
				want[section][flagTerm(f)] = f
			}
		}
	}
	for section, flags := range want {
		got := map[string]string{}
		for _, e := range page.entries[section] {
			term, _, _ := strings.Cut(e.term, "*=")
			if term != e.term {
				term += "*="
			}
			got[term] = e.text
		}
		for term, f := range flags {
			text, ok := got[term]
			if !ok {
				t.Errorf("%s has no entry under %q", term, section)
			}
			for _, word := range append(strings.Split(f.Enum, ","), f.Default) {
				if word != "" && !strings.Contains(text, "*"+word+"*") {
					t.Errorf("the entry of %s does not say %q", term, word)
				}
			}
		}
		for term := range got {
			if flags[term] == nil {
				t.Errorf("%q explains %s, which does not exist", section, term)
			}
		}
	}
}

// keySection is the heading under which the manual has a key, and its name there.
func keySection(name string) (section, key string) {
	for _, table := range []string{"listener", "identity", "upstream", "route"} {
		if key, ok := strings.CutPrefix(name, table+".NAME."); ok && table == "route" {
			return "[[route]]", key
		} else if ok {
			return "[" + table + ".NAME]", key
		}
	}
	table, key, _ := strings.Cut(name, ".")
	return "[" + table + "]", key
}

// keyTerm is how the manual writes a key.
func keyTerm(key string, k *config.Key) string {
	term := "**" + key + "** = " + k.Type
	if k.Limits != "" {
		term += ", " + k.Limits
	}
	switch {
	case k.Required && k.Unless != "":
		term += "; required without *" + k.Unless + "*"
	case k.Required:
		term += "; required"
	case k.Default != "":
		term += "; default " + k.Default
	}
	return term
}

// Type, limits and default of each key are in the manual, in the order of the
// reference, and nothing else is.
func TestManualHasTheKeys(t *testing.T) {
	page := readManual(t, "mtlsproxy.toml.5.md")
	want := map[string][]string{}
	for _, k := range config.Keys() {
		section, key := keySection(k.Name)
		want[section] = append(want[section], keyTerm(key, &k))
	}
	for section, terms := range want {
		var got []string
		for _, e := range page.entries[section] {
			got = append(got, e.term)
		}
		if !slices.Equal(got, terms) {
			t.Errorf("%s has\n%s\nwant\n%s", section, strings.Join(got, "\n"), strings.Join(terms, "\n"))
		}
	}
	for _, title := range page.titles {
		if strings.HasPrefix(title, "[") && want[title] == nil {
			t.Errorf("%s is explained and does not exist", title)
		}
	}
}

// Each example is a drop-in to the first one, which is complete.
func TestManualConfigurationLoads(t *testing.T) {
	examples := blocks(t, readTop(t, "man/mtlsproxy.toml.5.md"), "toml")
	dir := t.TempDir()
	file := filepath.Join(dir, "mtlsproxy.toml")
	dropIn := filepath.Join(config.DropInDir(file), "example.toml")
	if err := os.Mkdir(filepath.Dir(dropIn), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(examples[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		if err := os.WriteFile(dropIn, []byte(example), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Options{File: file, Env: []string{"CREDENTIALS_DIRECTORY=/run/credentials"}}); err != nil {
			t.Errorf("%v\n%s", err, example)
		}
	}
}

func TestManualHasTheExitCodes(t *testing.T) {
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\texit[A-Z]\w*\s+= (\d+)`).FindAllStringSubmatch(readTop(t, "cmd/mtlsproxyd/main.go"), -1) {
		want = append(want, "**"+m[1]+"**")
	}
	for _, e := range readManual(t, "mtlsproxyd.8.md").entries["EXIT STATUS"] {
		got = append(got, e.term)
	}
	if len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("the manual has %v, main.go %v", got, want)
	}
}

func manuals(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "man", "*.md"))
	if err != nil || len(files) < 6 {
		t.Fatalf("found %d manuals: %v", len(files), err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

func TestManualCommandsParse(t *testing.T) {
	found := 0
	for _, name := range manuals(t) {
		for _, m := range regexp.MustCompile(`(?m)^    (?:.* )?mtlsproxyd ((?:--[a-z]|run|check|demo).*)$`).FindAllStringSubmatch(readTop(t, "man/"+name), -1) {
			found++
			var c cli
			parser, err := kong.New(&c, c.options(world{stdout: io.Discard, stderr: io.Discard}, func(int) {})...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(strings.Fields(m[1])); err != nil {
				t.Errorf("%s: mtlsproxyd %s: %v", name, m[1], err)
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d commands only", found)
	}
}

// A page that tells of a version is wrong with the next one.
func TestManualsTellOfNoVersion(t *testing.T) {
	for _, name := range manuals(t) {
		if found := regexp.MustCompile(`(?i)\b(?:in\s+)?this\s+version\b`).FindString(readTop(t, "man/"+name)); found != "" {
			t.Errorf("%s says %q", name, found)
		}
	}
}

// A page begins with its title and its name, ends with others to see, and points to
// pages that exist.
func TestManualsHaveTheirParts(t *testing.T) {
	pages := manuals(t)
	for _, name := range pages {
		m := regexp.MustCompile(`^(.*)\.([1-8])\.md$`).FindStringSubmatch(name)
		if m == nil {
			t.Errorf("%s is not NAME.SECTION.md", name)
			continue
		}
		text := readTop(t, "man/"+name)
		if head := fmt.Sprintf("%% %s %s\n\n# NAME\n\n%s - ", m[1], m[2], m[1]); !strings.HasPrefix(text, head) {
			t.Errorf("%s does not begin with\n%s", name, head)
		}
		titles := readManual(t, name).titles
		if !slices.Contains(titles, "DESCRIPTION") || titles[len(titles)-1] != "SEE ALSO" {
			t.Errorf("%s has the sections %q", name, titles)
		}
		for _, see := range regexp.MustCompile(`\*\*(mtlsproxy[a-z.-]*)\*\*\(([1-8])\)`).FindAllStringSubmatch(text, -1) {
			if !slices.Contains(pages, see[1]+"."+see[2]+".md") {
				t.Errorf("%s points to %s(%s), which is not there", name, see[1], see[2])
			}
		}
	}
}

// converter is what makes manuals of Markdown; it is nothing the project links.
const converter = "github.com/cpuguy83/go-md2man/v2@v2.0.7"

func TestManualsRender(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	install := exec.CommandContext(ctx, "go", "install", converter)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=") // no -mod=vendor: it is not ours
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("SKIP: no go-md2man: %v: %s", err, strings.TrimSpace(string(out)))
	}
	for _, name := range manuals(t) {
		t.Run(name, func(t *testing.T) {
			roff := filepath.Join(dir, strings.TrimSuffix(name, ".md"))
			if out, err := exec.Command(filepath.Join(dir, "go-md2man"), "-in", filepath.Join(top, "man", name), "-out", roff).CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v\n%s", err, out)
			}
			man, err := exec.LookPath("man")
			if err != nil {
				t.Skip("SKIP: ", err)
			}
			cmd := exec.Command(man, "--warnings", "-l", roff)
			cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8")
			var complaints strings.Builder
			cmd.Stderr = &complaints
			if out, err := cmd.Output(); err != nil || complaints.Len() > 0 || !strings.Contains(string(out), "SEE ALSO") {
				t.Errorf("%v\n%s", err, complaints.String())
			}
			lexgrog, err := exec.LookPath("lexgrog")
			if err != nil {
				t.Skip("SKIP: ", err)
			}
			if out, err := exec.Command(lexgrog, roff).CombinedOutput(); err != nil {
				t.Errorf("apropos could not find it: %v\n%s", err, out)
			}
		})
	}
}

// lifeOfService are the directives of the unit that are about its life and not its
// confinement.
var lifeOfService = []string{
	"Type", "NotifyAccess", "Sockets", "ExecStart", "ExecReload", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "TimeoutAbortSec",
	"WatchdogSec", "KillMode", "RestartKillSignal", "SuccessExitStatus", "FileDescriptorStoreMax", "SyslogIdentifier", "SyslogLevel",
}

// Every directive that confines the daemon is explained with the value it has.
func TestManualHasTheSandbox(t *testing.T) {
	_, service, _ := strings.Cut(readTop(t, "packaging/systemd/mtlsproxy.service"), "\n[Service]\n")
	service, _, _ = strings.Cut(service, "\n[Install]\n")
	unit := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z][A-Za-z]+)=(.*)$`).FindAllStringSubmatch(service, -1) {
		if !slices.Contains(lifeOfService, m[1]) {
			unit[m[0]] = true
		}
	}
	page := map[string]bool{}
	for _, section := range []string{"Users and files", "Privileges", "The kernel", "Resources"} {
		for _, e := range readManual(t, "mtlsproxy-hardening.7.md").entries[section] {
			for _, m := range regexp.MustCompile(`\*\*([^*]+)\*\*`).FindAllStringSubmatch(e.term, -1) {
				page[m[1]] = true
			}
		}
	}
	if len(unit) < 30 {
		t.Fatalf("found %d directives only", len(unit))
	}
	for _, d := range slices.Sorted(maps.Keys(unit)) {
		if !page[d] {
			t.Errorf("the unit has %s, the manual does not", d)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(page)) {
		if !unit[d] {
			t.Errorf("the manual has %s, the unit does not", d)
		}
	}
}

// offered are the words that bash offers after some.
func offered(t *testing.T, words ...string) []string {
	t.Helper()
	script, err := filepath.Abs(filepath.Join(top, "contrib/completions/mtlsproxyd.bash"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", append([]string{"-c", `. "$0"; COMP_WORDS=(mtlsproxyd "$@") COMP_CWORD=$#; _mtlsproxyd; printf '%s\n' "${COMPREPLY[@]}"`, script}, words...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Fields(string(out))
	slices.Sort(got)
	return got
}

func TestBashOffersWhatThereIs(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("SKIP: ", err)
	}
	app := model(t)
	var commands []string
	for _, command := range app.Children {
		commands = append(commands, command.Name)
		var want []string
		for _, f := range append(app.Flags, command.Flags...) {
			if !f.Hidden {
				want = append(want, "--"+f.Name)
			}
		}
		slices.Sort(want)
		if got := offered(t, command.Name, "--"); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", command.Name, got, want)
		}
		if got := offered(t, command.Name, ""); len(got) > 0 {
			t.Errorf("%s: got %v, want nothing", command.Name, got)
		}
	}
	slices.Sort(commands)
	if got := offered(t, ""); !slices.Equal(got, commands) {
		t.Errorf("got %v, want %v", got, commands)
	}
	if got, want := offered(t, "--"), offered(t, "run", "--"); !slices.Equal(got, want) {
		t.Errorf("got %v, want the flags of run, %v", got, want)
	}
	for _, words := range [][]string{{"--log-level", "w"}, {"--log-level", "=", "w"}, {"run", "--log-level", "w"}} {
		if got := offered(t, words...); !slices.Equal(got, []string{"warn"}) {
			t.Errorf("%q: got %v", words, got)
		}
	}
	if got := offered(t, "--log-level", "="); len(got) != 4 {
		t.Errorf("got %v", got)
	}
}

func TestShellsKnowEveryFlag(t *testing.T) {
	for shell, form := range map[string]string{"bash": "--%s", "zsh": "--%s", "fish": "-l %s "} {
		t.Run(shell, func(t *testing.T) {
			name := "contrib/completions/mtlsproxyd." + shell
			script := readTop(t, name)
			app := model(t)
			for _, command := range app.Children {
				if !regexp.MustCompile(`\b` + command.Name + `\b`).MatchString(script) {
					t.Errorf("%s is not there", command.Name)
				}
				for _, f := range append(app.Flags, command.Flags...) {
					if flag := fmt.Sprintf(form, f.Name); !f.Hidden && !strings.Contains(script, flag) {
						t.Errorf("%s is not there", flag)
					}
				}
			}
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip("SKIP: ", err)
			}
			if out, err := exec.Command(path, "-n", filepath.Join(top, name)).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
