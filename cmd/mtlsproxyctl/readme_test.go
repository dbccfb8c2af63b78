package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Every command that README shows is one.
func TestDocumentedCommandsParse(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		command, typed := strings.CutPrefix(strings.TrimSpace(line), "$ mtlsproxyctl ")
		if !typed {
			continue
		}
		command, _, _ = strings.Cut(command, " | ") // what takes its output is not ours
		words := strings.Fields(strings.NewReplacer("'", "", `"`, "").Replace(command))
		if slices.Contains(words, "--help") {
			continue
		}
		found++
		var c cli
		parser, err := kong.New(&c, c.options(world{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, func(int) {})...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(words); err != nil {
			t.Errorf("mtlsproxyctl %s: %v", strings.Join(words, " "), err)
		}
	}
	if found < 6 {
		t.Errorf("README.md shows %d commands only", found)
	}
}
