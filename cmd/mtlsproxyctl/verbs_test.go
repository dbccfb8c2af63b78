package main

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// verbs are all commands that print one thing, by the names of their golden files.
var verbs = map[string]string{
	"status": "status", "routes": "routes", "upstreams": "upstreams", "certs": "certs", "certs-one": "certs show default", "certs-failing": "certs show partner",
	"certs-commit": "certs commit default", "certs-abort": "certs abort default", "connections": "connections",
	"connections-by-in": "connections --sort in", "limits": "limits", "log": "log", "log-id": "log --id 0191d4e2b7f07a63", "log-stats": "log stats", "events": "events", "reload": "reload",
	"check": "check", "check-diff": "check --diff", "drain": "drain billing/10.0.0.1:8443", "resume": "resume billing", "breaker-reset": "breaker reset billing",
	"level": "level", "level-set": "level debug", "metrics": "metrics",
}

func TestText(t *testing.T) {
	d := newDaemon(t)
	for name, args := range verbs {
		r := host{socket: d.socket}.execute(t, strings.Fields(args)...)
		r.want(t, result{stdout: r.stdout})
		golden(t, name+".txt", r.stdout)
	}
}

func TestJSON(t *testing.T) {
	d := newDaemon(t)
	for name, args := range verbs {
		r := host{socket: d.socket}.execute(t, append(strings.Fields(args), "--json")...)
		r.want(t, result{stdout: r.stdout})
		golden(t, name+".json", r.stdout)
		dec := json.NewDecoder(strings.NewReader(r.stdout))
		for dec.More() {
			var v any
			if err := dec.Decode(&v); err != nil {
				t.Errorf("%s: %v", args, err)
				break
			}
		}
	}
}

func TestNothingButPrintableTextReachesATerminal(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /metrics", plainly("a{b=\"\x1b[2J\u009b\"} 1\r\n"))
	for _, mode := range []string{"", "--json"} {
		for name, args := range verbs {
			r := host{socket: d.socket, width: 80, env: map[string]string{"NO_COLOR": "1"}}.execute(t, strings.Fields(args+" "+mode)...)
			if r.code != 0 {
				t.Errorf("%s: %+v", name, r)
			}
			for _, r := range r.stdout {
				if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e {
					t.Errorf("%s %s prints %U", name, mode, r)
				}
			}
		}
	}
}

// sentence is a line that belongs to no table: it is wrapped by the terminal, and
// nothing of it is lost.
var sentence = regexp.MustCompile(`^(mtlsproxyd |\d+ connections| *identity "| +(degraded|hint:|/etc/mtlsproxy/mtlsproxy\.toml|running |\d+ records |(error|client|protocol) ))`)

func TestTablesFitTheTerminal(t *testing.T) {
	d := newDaemon(t)
	for _, width := range []int{60, 80, 120, 200} {
		for _, args := range []string{"status", "routes", "upstreams", "certs", "certs probe default", "connections", "limits", "log", "log tail", "log stats", "check --diff"} {
			r := host{socket: d.socket, width: width, env: map[string]string{"NO_COLOR": "1"}}.execute(t, strings.Fields(args)...)
			for line := range strings.Lines(r.stdout) {
				line = strings.TrimSuffix(line, "\n")
				if w := lipgloss.Width(line); w > width && !sentence.MatchString(line) {
					t.Errorf("%s at %d: a line is %d wide:\n%s", args, width, w, line)
				}
			}
			if slices.Contains([]string{"upstreams", "log", "connections", "certs"}, args) {
				golden(t, strings.ReplaceAll(args, " ", "-")+"-"+map[int]string{60: "60", 80: "80", 120: "120", 200: "200"}[width]+".txt", r.stdout)
			}
		}
	}
}

func TestColourOnlyOnATerminalThatMayHaveIt(t *testing.T) {
	d := newDaemon(t)
	f := func(want bool, h host, args ...string) {
		t.Helper()
		h.socket = d.socket
		if r := h.execute(t, append(args, "status")...); strings.Contains(r.stdout, "\x1b[") != want {
			t.Errorf("colours: %v, want %v", !want, want)
		}
	}
	f(false, host{})
	f(true, host{width: 80})
	f(false, host{width: 80}, "--no-color")
	f(false, host{width: 80, env: map[string]string{"NO_COLOR": "1"}})
	f(false, host{width: 80, env: map[string]string{"TERM": "dumb"}})
}

func TestWithoutColourTheTextIsTheSame(t *testing.T) {
	d := newDaemon(t)
	coloured := host{socket: d.socket, width: 120}.execute(t, "upstreams").stdout
	plain := host{socket: d.socket, width: 120}.execute(t, "upstreams", "--no-color").stdout
	var b strings.Builder
	for i, part := range strings.Split(coloured, "\x1b[") {
		if i > 0 {
			_, part, _ = strings.Cut(part, "m")
		}
		b.WriteString(part)
	}
	if b.String() != plain {
		t.Errorf("got:\n%swant:\n%s", b.String(), plain)
	}
}

func TestWhatTheDaemonIsAsked(t *testing.T) {
	d := newDaemon(t)
	f := func(want, args string) {
		t.Helper()
		host{socket: d.socket}.execute(t, strings.Fields(args)...)
		if got := d.asked(); got != want {
			t.Errorf("%s asked\n%s\nwant\n%s", args, got, want)
		}
	}
	f(`POST /v1/drain {"upstream":"billing"}`, "drain billing")
	f(`POST /v1/drain {"upstream":"billing","endpoint":"[2001:db8::1]:8443"}`, "drain billing/[2001:db8::1]:8443")
	f(`POST /v1/resume {"upstream":"billing"}`, "resume billing")
	f(`POST /v1/breaker/reset {"upstream":"billing","endpoint":"10.0.0.2:8443"}`, "breaker reset billing/10.0.0.2:8443")
	f(`POST /v1/certs/probe {"name":"billing"}`, "certs probe billing")
	f(`POST /v1/certs/commit {"identity":"default"}`, "certs commit default")
	f(`POST /v1/certs/abort {"identity":"default"}`, "certs abort default")
	f("GET /v1/level", "level")
	f(`PUT /v1/level {"level":"warn"}`, "level warn")
	f("GET /v1/events?count=5&follow=false", "events -n 5")
	f("GET /v1/log/records?limit=50", "log")
	f("GET /v1/log/records?caller=1000&class=any&from=2026-11-23T11%3A00%3A00Z&limit=-1&min=500ms&order=oldest&path=%2Fv1%2F%2A&route=billing&status=5xx&to=2026-11-23T11%3A30%3A00Z",
		"log query --caller app --class any --from 1h --to 30m --all --min 500ms --oldest --path /v1/* --route billing --status 5xx")
	f("GET /v1/log/tail?caller=unknown&endpoint=a%3A1&fault=self&host=%2A.local&id=x&listener=http&max=2s&method=GET&upstream=u",
		"log tail --caller unknown --endpoint a:1 --fault self --host *.local --id x --listener http --max 2s --method GET --upstream u")
	f("GET /v1/log/records?caller=4242&limit=-1&order=oldest", "log export --caller 4242")
}

// TestTopOnce looks twice, one second apart.
func TestTopOnce(t *testing.T) {
	for _, mode := range []string{"txt", "json"} {
		d := newDaemon(t)
		d.says("GET /v1/log/records", lines(cannedRecords()[1:2]))
		clock := noon
		h := host{socket: d.socket, now: func() time.Time { return clock }, wait: func(_ context.Context, d2 time.Duration) error {
			clock = clock.Add(d2)
			d.says("GET /metrics", plainly(cannedMetrics(2)))
			return nil
		}}
		args := []string{"top", "--once"}
		if mode == "json" {
			args = append(args, "--json")
		}
		r := h.execute(t, args...)
		r.want(t, result{stdout: r.stdout})
		golden(t, "top-once."+mode, r.stdout)
	}
}

func TestQuietPrintsErrorsOnly(t *testing.T) {
	d := newDaemon(t)
	if got := (host{socket: d.socket}).execute(t, "reload", "--quiet"); got.stdout+got.stderr != "" || got.code != exitOK {
		t.Errorf("got %+v of a reload that works", got)
	}
	d.says("POST /v1/drain", refuse(http.StatusNotFound, api.NotFound, "there is no upstream \"nowhere\"", ""))
	got := (host{socket: d.socket}).execute(t, "drain", "nowhere", "-q")
	if got.stdout != "" || got.stderr == "" || got.code != exitFailed {
		t.Errorf("got %+v of an order that cannot be followed", got)
	}
	if got := (host{socket: d.socket}).execute(t, "drain", "nowhere", "-q", "--json"); !strings.Contains(got.stdout, `"not_found"`) {
		t.Errorf("got %+v of the same as JSON", got)
	}
}
