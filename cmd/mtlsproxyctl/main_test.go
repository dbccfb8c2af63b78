package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// asControl makes the test binary be mtlsproxyctl, for tests of a whole process.
const asControl = "MTLSPROXYCTL_TEST_AS_CONTROL"

func TestMain(m *testing.M) {
	if os.Getenv(asControl) != "" {
		main()
	}
	leak.Main(m)
}

var update = flag.Bool("update", false, "write the files in testdata anew")

// noon is when all tests are run.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// result is what a command left.
type result struct {
	code           int
	stdout, stderr string
}

// host is where a command is run.
type host struct {
	socket string
	env    map[string]string
	width  int // of the terminal; 0: there is none
	height int
	ctx    context.Context
	wait   func(context.Context, time.Duration) error
	now    func() time.Time
	stderr int // width of the terminal that standard error is

	units  func(...string) map[string]unitState
	system string // socket of the system's daemon
}

// execute runs a command in this process.
func (h host) execute(t *testing.T, args ...string) result {
	t.Helper()
	t.Setenv("COLUMNS", "80") // of help
	var stdout, stderr bytes.Buffer
	w := world{
		ctx: t.Context(), uid: 1000, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
		getenv: func(name string) string { return h.env[name] },
		now:    func() time.Time { return noon },
		wait:   func(context.Context, time.Duration) error { return context.Canceled },
		terminal: func(w io.Writer) (int, int, bool) {
			if w == &stderr {
				return h.stderr, 24, h.stderr > 0
			}
			return h.width, max(24, h.height), h.width > 0 && w == &stdout
		},
		userName: func(uid uint32) string {
			if name, ok := map[uint32]string{0: "root", 1000: "app", 1001: "batch jobs"}[uid]; ok {
				return name
			}
			return strconv.FormatUint(uint64(uid), 10)
		},
		userID: func(name string) (uint32, bool) { return 1000, name == "app" },
		units:  h.units, systemSocket: h.system,
	}
	if h.ctx != nil {
		w.ctx = h.ctx
	}
	if h.wait != nil {
		w.wait = h.wait
	}
	if h.now != nil {
		w.now = h.now
	}
	if h.socket != "" {
		args = append([]string{"--socket", h.socket}, args...)
	}
	code := run(args, w)
	return result{code, stdout.String(), stderr.String()}
}

func (r result) want(t *testing.T, want result) {
	t.Helper()
	if r.code != want.code {
		t.Errorf("exit code %d, want %d", r.code, want.code)
	}
	if r.stdout != want.stdout {
		t.Errorf("stdout:\n%swant:\n%s", r.stdout, want.stdout)
	}
	if r.stderr != want.stderr {
		t.Errorf("stderr:\n%swant:\n%s", r.stderr, want.stderr)
	}
}

// golden compares text with a file in testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s:\n%swant (go test -update writes it anew):\n%s", name, text, want)
	}
}

func TestHelp(t *testing.T) {
	for name, args := range map[string]string{
		"help": "", "help-status": "status", "help-top": "top", "help-routes": "routes", "help-upstreams": "upstreams", "help-certs": "certs",
		"help-certs-show": "certs show", "help-certs-stage": "certs stage", "help-certs-probe": "certs probe", "help-certs-commit": "certs commit", "help-certs-abort": "certs abort",
		"help-log": "log", "help-log-query": "log query", "help-log-tail": "log tail", "help-log-export": "log export",
		"help-log-stats": "log stats", "help-events": "events", "help-connections": "connections", "help-limits": "limits", "help-reload": "reload",
		"help-check": "check", "help-drain": "drain", "help-resume": "resume", "help-breaker": "breaker", "help-breaker-reset": "breaker reset",
		"help-level": "level", "help-metrics": "metrics", "help-version": "version", "help-completion": "completion",
	} {
		r := host{}.execute(t, append(strings.Fields(args), "--help")...)
		r.want(t, result{stdout: r.stdout})
		golden(t, name+".txt", r.stdout)
		examplesParse(t, r.stdout)
	}
}

// examplesParse looks at the commands that a help text shows.
func examplesParse(t *testing.T, help string) {
	t.Helper()
	for line := range strings.Lines(help) {
		if !strings.HasPrefix(line, "    mtlsproxyctl ") {
			continue
		}
		line, _, _ = strings.Cut(line, "|")
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  ") // what follows says what it is for
		var c cli
		parser, err := kong.New(&c, c.options(world{stdout: io.Discard, stderr: io.Discard}, func(int) {})...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(strings.Fields(strings.ReplaceAll(line, "'", ""))[1:]); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	d := newDaemon(t)
	f := func(complaint, command, args string, more ...string) {
		t.Helper()
		host{socket: d.socket}.execute(t, append(strings.Fields(args), more...)...).want(t,
			result{code: exitUsage, stderr: "mtlsproxyctl: " + complaint + "\nhint: " + strings.TrimSpace("mtlsproxyctl "+command) + " --help shows what there is\n"})
	}
	f(`unknown flag --jsno, did you mean "--json"?`, "", "--jsno")
	f(`unexpected argument stauts, did you mean "status"?`, "", "stauts")
	f("unexpected argument now", "status", "status now")
	f(`--watch: not a time of 100ms or longer (got "often", want 2s or 500ms)`, "status", "status --watch=often")
	f(`--watch: not a time of 100ms or longer (got "1ms", want 2s or 500ms)`, "limits", "limits --watch=1ms")
	f("--timeout: must be longer than nothing (got 0s, want 10s)", "status", "status --timeout 0s")
	f("--socket: too long for a unix socket (got 108 bytes, want 107 at most): /"+strings.Repeat("s", 107), "status", "status --socket /"+strings.Repeat("s", 107))
	f(`LEVEL: not a level (got "loud", want debug, info, warn, error)`, "level", "level loud")
	f(`not an upstream or an endpoint of one (got "billing/", want billing or billing/10.0.0.1:8443)`, "drain", "drain billing/")
	f(`expected "<upstream[/endpoint]>"`, "resume", "resume")
	f(`expected "reset"`, "breaker", "breaker")
	f(`expected "<identity>"`, "certs stage", "certs stage")
	f("what is to be staged? (want certs stage default CERT KEY, or --pkcs12 FILE)", "certs stage", "certs stage default")
	f("what is to be staged? (want certs stage default CERT KEY, or --pkcs12 FILE)", "certs stage", "certs stage default a.crt")
	f("--pkcs12 has certificate and key in it: leave CERT and KEY out, and name trust anchors with --ca", "certs stage", "certs stage default a.crt a.key --pkcs12 a.p12")
	f("trust anchors are named twice, as CA and with --ca", "certs stage", "certs stage default a.crt a.key a.ca --ca b.ca")
	f(`expected "<identity|upstream>"`, "certs probe", "certs probe")
	f(`<shell> must be one of "bash","zsh","fish" but got "tcsh"`, "completion", "completion tcsh")
	f("--json: a script is no JSON; leave it out", "completion", "completion bash --json")
	f(`--sort must be one of "age","in","out","exchanges","caller","route","listener" but got "size"`, "connections", "connections --sort size")
	f("--count: less than none (got -1, want 0 or more)", "events", "events --count=-1")
	f("--interval: too short (got 1ms, want 100ms or longer)", "top", "top --interval 1ms")
	f("standard output is no terminal; --once prints one frame, --json values", "top", "top")

	f(`--status: not a status (got "bad", want 404, 5xx, 400-499 or several with commas)`, "log query", "log --status bad")
	f(`--caller: no such user on this host (got "nobdy", want a name, a uid or unknown)`, "log tail", "log tail --caller nobdy")
	f(`--from: not a time (got "soon", `+timeExamples+`)`, "log query", "log --from soon")
	f("--from is not before --to (got 2026-11-23T11:00:00Z and 2026-11-23T10:00:00Z)", "log export", "log export --from 1h --to 2h")
	f("--min 2s is more than --max 1s: nothing can be both", "log query", "log --min 2s --max 1s")
	f("--min and --max: a time cannot be negative", "log query", "log --min=-2s")
	f("--limit: less than one (got 0, want 50, or --all)", "log query", "log -n 0")
	f("--limit and --all can't be used together", "log query", "log -n 5 --all")
	f("--json: standard output cannot be JSON and csv; name a file with --output, or leave one out", "log export", "log export --json --format csv")
	if n := d.asked(); n != "" {
		t.Errorf("the daemon was asked for %s", n)
	}
}

func TestWithoutAnythingItSaysWhatThereIs(t *testing.T) {
	r := host{}.execute(t)
	if r.code != exitUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, `mtlsproxyctl: expected one of "status", "top"`) {
		t.Errorf("%+v", r)
	}
}

func TestItsOwnVersionNeedsNoDaemon(t *testing.T) {
	r := host{}.execute(t, "--version")
	if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "mtlsproxyctl ") || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("%+v", r)
	}
}
