package main

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

const top = "../.."

func readTop(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks returns the code blocks of one kind.
func blocks(t *testing.T, text, kind string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	if out == nil {
		t.Fatalf("there is no block of %s", kind)
	}
	return out
}

func TestReadmeConfigurationLoads(t *testing.T) {
	for _, block := range blocks(t, readTop(t, "README.md"), "toml") {
		c, err := config.Load(config.Options{
			File:     defaultConfig,
			ReadFile: func(string) ([]byte, error) { return []byte(block), nil },
			ReadDir:  func(string) ([]fs.DirEntry, error) { return nil, fs.ErrNotExist },
		})
		if err != nil {
			t.Errorf("%v\n%s", err, block)
			continue
		}
		if missing := lacks(c); missing != nil {
			t.Error(missing)
		}
	}
}

// Taking the marks of comment off is what the shipped file tells people to do.
func TestShippedConfigurationLoadsWithoutItsMarksOfComment(t *testing.T) {
	text := regexp.MustCompile(`(?m)^# (\[|\w+ += )`).ReplaceAllString(readTop(t, "packaging/mtlsproxy.toml"), "$1")
	c, err := config.Load(config.Options{File: "mtlsproxy.toml", ReadFile: func(string) ([]byte, error) { return []byte(text), nil },
		ReadDir: func(string) ([]fs.DirEntry, error) { return nil, fs.ErrNotExist }})
	if err != nil || len(c.Routes) != 1 || len(c.Upstreams) != 1 {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestDocumentedCommandsParse(t *testing.T) {
	texts := map[string][]string{"README.md": blocks(t, readTop(t, "README.md"), "console"), "--help": {description}}
	for name, list := range texts {
		found := 0
		for _, block := range list {
			for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
				command, typed := strings.CutPrefix(strings.TrimSpace(line), "$ ")
				if !typed && name == "README.md" { // output
					continue
				}
				words := strings.Fields(command)
				if len(words) == 0 || words[0] != "mtlsproxyd" || slices.Contains(words, "--help") {
					continue
				}
				found++
				var c cli
				parser, err := kong.New(&c, c.options(world{stdout: io.Discard, stderr: io.Discard}, func(int) {})...)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parser.Parse(words[1:]); err != nil {
					t.Errorf("%s: %s: %v", name, strings.Join(words, " "), err)
				}
			}
		}
		if found < 4 {
			t.Errorf("%s: found %d commands only", name, found)
		}
	}
}

// classesOf returns the classes of errors that a file of source declares.
func classesOf(t *testing.T, name string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)\bClass\s*= "([a-z_]+)"`).FindAllStringSubmatch(readTop(t, name), -1) {
		out[m[1]] = true
	}
	return out
}

func TestReadmeTableOfErrorsIsWhole(t *testing.T) {
	declared := classesOf(t, "tlsclient/errors.go")
	delete(declared, "client_gone") // nobody is left to be answered
	maps.Copy(declared, classesOf(t, "service/proxy/answer.go"))
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(readTop(t, "README.md"), -1) {
		documented[m[1]] = true
	}
	if len(declared) < 10 {
		t.Fatalf("found %d classes only", len(declared))
	}
	for class := range declared {
		if !documented[class] {
			t.Errorf("README.md does not say what %s means", class)
		}
	}
	for class := range documented {
		if !declared[class] {
			t.Errorf("README.md explains %s, which does not exist", class)
		}
	}
}

func TestDocumentsPointSomewhere(t *testing.T) {
	targets := regexp.MustCompile(`(?m)^([a-z-]+):.* ## `).FindAllStringSubmatch(readTop(t, "Makefile")+readTop(t, "packaging/package.mk"), -1)
	var makes []string
	for _, m := range targets {
		makes = append(makes, m[1])
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "SECURITY.md", "contrib/ARCHITECTURE.md", "contrib/bench/README.md"} {
		text := readTop(t, name)
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			path := filepath.Join(top, filepath.Dir(name), m[1])
			if _, err := os.Stat(path); err != nil && filepath.Base(path) != "RESULTS.md" { // which a full run of the benchmark leaves
				t.Errorf("%s points to %s, which is not there", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile("(?m)(?:`|^    |sudo )make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if !slices.Contains(makes, m[1]) {
				t.Errorf("%s tells to make %s, which the Makefile cannot", name, m[1])
			}
		}
	}
}
