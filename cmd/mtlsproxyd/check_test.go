package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

func TestCheckPrintsAConfigurationThatLoads(t *testing.T) {
	dir := identity(t)
	r := execute(t, dir, append([]string{"check", "--listen", "127.0.0.1:8980", "--listen", filepath.Join(dir, "http.sock"),
		"--set", `route.default.request_headers.set.X-Env="prod"`, "--set", "drain.timeout=5s"}, oneUpstream()...)...)
	r.want(t, result{stdout: r.stdout})
	// How wide the columns are depends on the length of the directory's name.
	narrow := regexp.MustCompile(` {2,}`).ReplaceAllString(strings.ReplaceAll(r.stdout, dir, "DIR"), " ")
	golden(t, "check.txt", narrow)

	// What it printed says the same when it is a file.
	file := filepath.Join(dir, "printed.toml")
	if err := os.WriteFile(file, []byte(r.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	again := execute(t, dir, "check", "--config", file)
	if again.code != 0 || len(c.Settings()) != strings.Count(again.stdout, " = ") {
		t.Errorf("the printed configuration gives %+v", again)
	}
}

func TestAlign(t *testing.T) {
	const in = `[a]
long_key = 1  # default
k = "the first of two values  # one"  # file.toml:3
list = ["a value that is so long", "that it would push all comments away"]  # --listen

[b]
key = true  # default
`
	const want = `[a]
long_key = 1                                 # default
k        = "the first of two values  # one"  # file.toml:3
list     = ["a value that is so long", "that it would push all comments away"]  # --listen

[b]
key = true  # default
`
	if got := align(in); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestCheckJSON(t *testing.T) {
	dir := identity(t)
	var got checked
	r := execute(t, dir, append([]string{"check", "--json", "--listen", "127.0.0.1:8980"}, oneUpstream()...)...)
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if r.code != 0 || r.stderr != "" || !got.OK || got.Errors != nil {
		t.Errorf("%+v", r)
	}
	for _, s := range got.Settings {
		want, ok := map[string]string{
			"listener.http.address":     `["127.0.0.1:8980"]`,
			"upstream.default.pool.max": `256`,
			"route.default.forwarded":   `true`,
			"limits.idle_timeout":       `"1m15s"`,
		}[s.Key]
		compact := strings.Join(strings.Fields(string(s.Value)), "")
		if ok && compact != want {
			t.Errorf("%s is %s, want %s", s.Key, compact, want)
		}
	}

	r = execute(t, dir, append([]string{"check", "--json", "--listen", "127.0.0.1:8980", "--set", "limits.header_fields=1"}, oneUpstream()...)...)
	r.want(t, result{code: 78, stdout: `{
  "ok": false,
  "errors": [
    "--set limits.header_fields: out of range (got 1, want 10 to 1000)"
  ]
}
`})
}

func TestJSONValue(t *testing.T) {
	for toml, want := range map[string]string{
		`"a"`:          `"a"`,
		`["a", "b"]`:   `["a", "b"]`,
		`256`:          `256`,
		`true`:         `true`,
		`"\U0001F600"`: `"\"\\U0001F600\""`,
	} {
		if got := string(jsonValue(toml)); got != want {
			t.Errorf("%s became %s, want %s", toml, got, want)
		}
	}
}

func TestCheckReportsAllThatIsWrong(t *testing.T) {
	dir := identity(t)
	file := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(file, []byte(`[listener.http]
address = "127.0.0.1:8980"
moode = "0660"

[upstream.billing]
endpoints = ["billing.internal:8443"]
identity = "nobody"
timeout.connect = 3

[[route]]
name = "billing"
upstream = "biling"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := execute(t, dir, "check", "--config", file)
	if r.code != 78 || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	golden(t, "check-bad.txt", strings.ReplaceAll(r.stderr, dir, "DIR"))
}
