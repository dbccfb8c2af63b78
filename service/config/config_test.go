package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

var update = flag.Bool("update", false, "rewrite the expected texts beside the corpus")

// Every file in testdata/ok loads; what is then in effect, with the source of each
// value, stands beside it.
func TestAcceptedFiles(t *testing.T) {
	t.Parallel()
	for _, name := range corpus(t, "ok", 15) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(config.Options{File: name, Env: corpusEnv()})
			if err != nil {
				t.Fatalf("refused:\n%v", err)
			}
			golden(t, strings.TrimSuffix(name, ".toml")+".txt", c.TOML())
			again, err := reload(c)
			if err != nil {
				t.Fatalf("what is in effect does not load again:\n%v\n%s", err, c.TOML())
			}
			if !equal(c, again) {
				t.Errorf("what is in effect loads to another Config:\n%+v\n%+v", c, again)
			}
		})
	}
}

// Every file in testdata/bad breaks the rule it is named after, and is refused
// with exactly the text beside it.
func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	for _, name := range corpus(t, "bad", 60) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(config.Options{File: name, Env: corpusEnv()})
			if err == nil {
				t.Fatalf("accepted:\n%s", c.TOML())
			}
			if c != nil {
				t.Error("a Config beside an error")
			}
			golden(t, strings.TrimSuffix(name, ".toml")+".txt", err.Error()+"\n")
		})
	}
}

func corpusEnv() []string {
	return []string{"CREDENTIALS_DIRECTORY=/run/credentials/mtlsproxy.service", "TENANT=blue", "EMPTY=", "NESTED=${TENANT}"}
}

// corpus returns the files of a directory, of which there should be some.
func corpus(t *testing.T, dir string, atLeast int) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < atLeast {
		t.Fatalf("%d files in testdata/%s, want %d or more", len(names), dir, atLeast)
	}
	return names
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant, as in %s,\n%s", got, name, want)
	}
}

// reload loads what is in effect in c as a file of its own.
func reload(c *config.Config) (*config.Config, error) {
	return config.Load(config.Options{
		File:     "effective.toml",
		ReadFile: func(string) ([]byte, error) { return []byte(c.TOML()), nil },
		ReadDir:  noDir,
	})
}

// equal compares what two Configs say, not where it came from.
func equal(a, b *config.Config) bool {
	x, y := exported(a), exported(b)
	return reflect.DeepEqual(x, y)
}

func exported(c *config.Config) []any {
	v := reflect.ValueOf(*c)
	var fields []any
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			fields = append(fields, v.Field(i).Interface())
		}
	}
	return fields
}
