package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// FuzzLoad holds three promises: Load never panics, its errors are lines without
// control characters, and what it accepts can be written out and loaded again.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"ok", "bad"} {
		entries, err := os.ReadDir("testdata/" + pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".toml") {
				continue
			}
			data, err := os.ReadFile("testdata/" + pattern + "/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data), "drain.timeout=1s", "1s")
		}
	}
	f.Add("", `route.x.callers=["any"]`, "{}")
	f.Add(base, `route.billing.request_headers.set."X-A"=b`, "1m")
	f.Fuzz(func(t *testing.T, file, set, env string) {
		c, err := config.Load(config.Options{
			File:     "/etc/mtlsproxy/mtlsproxy.toml",
			Env:      []string{"TENANT=blue", "MTLSPROXY__DRAIN__TIMEOUT=" + env},
			Set:      []string{set},
			ReadFile: func(string) ([]byte, error) { return []byte(file), nil },
			ReadDir:  noDir,
		})
		if err != nil {
			checkLines(t, err)
			return
		}
		again, err := reload(c)
		if err != nil {
			t.Fatalf("what is in effect does not load again:\n%v\n%s", err, c.TOML())
		}
		if !equal(c, again) {
			t.Fatalf("what is in effect loads to another Config:\n%s\n%s", c.TOML(), again.TOML())
		}
	})
}

func checkLines(t *testing.T, err error) {
	t.Helper()
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line == "" || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("not a clean line: %q", line)
		}
	}
}
