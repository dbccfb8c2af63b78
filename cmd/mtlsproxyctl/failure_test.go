package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f") // which is no socket
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const hint = "start it with: systemctl start mtlsproxy; or name its socket: --socket PATH or MTLSPROXY_ADMIN_SOCKET"
	for path, why := range map[string]string{filepath.Join(dir, "none"): "there is no such socket", file: "connections are refused"} {
		host{socket: path}.execute(t, "status").want(t, result{code: exitNotRunning, stderr: "mtlsproxyctl: no daemon answers on " + path + ": " + why + "\nhint: " + hint + "\n"})
	}
	host{socket: file}.execute(t, "log", "tail", "--json").want(t, result{code: exitNotRunning, stdout: `{"error":{"class":"not_running","message":"no daemon answers on ` + file +
		`: connections are refused","hint":"` + hint + `"}}` + "\n"})
	r := host{socket: file}.execute(t, "version")
	if r.code != exitNotRunning || r.stdout != versionLine()+"\n" {
		t.Errorf("%+v", r)
	}
}

func TestWhichSocket(t *testing.T) {
	d := newDaemon(t)
	own := filepath.Join(t.TempDir(), "mtlsproxy")
	f := func(want string, env map[string]string, args ...string) {
		t.Helper()
		r := host{env: env}.execute(t, append(args, "level")...)
		if strings.HasPrefix(want, "/") {
			want = "mtlsproxyctl: no daemon answers on " + want + ": there is no such socket\n"
		}
		if !strings.HasPrefix(r.stdout+r.stderr, want) {
			t.Errorf("got %s%swant %s", r.stdout, r.stderr, want)
		}
	}
	f("/run/mtlsproxy/admin.sock", nil)
	f("info", map[string]string{"MTLSPROXY_ADMIN_SOCKET": d.socket})
	f("/nowhere/a.sock", map[string]string{"MTLSPROXY_ADMIN_SOCKET": d.socket}, "--socket", "/nowhere/a.sock")
	f(filepath.Join(own, "mtlsproxy/admin.sock"), map[string]string{"XDG_RUNTIME_DIR": own})
	if err := os.MkdirAll(filepath.Join(own, "mtlsproxy"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := standing([]string{filepath.Join(own, "none"), own}); got != own {
		t.Errorf("got %s: not what is there", got)
	}
}

func TestNotPermitted(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/reload", refuse(http.StatusForbidden, api.NotPermitted, "reload needs the permission to operate", "add user:app to admin.operate"))
	host{socket: d.socket}.execute(t, "reload").want(t, result{code: exitNotPermitted, stderr: `mtlsproxyctl: user app (uid 1000) may not do this: reload needs the permission to operate
hint: add user:app to admin.operate; or use sudo
`})
	if r := (host{socket: d.socket}).execute(t, "reload", "--json"); r.code != exitNotPermitted || r.stderr != "" || !strings.HasPrefix(r.stdout, `{"error":{"class":"not_permitted","message":"user app`) {
		t.Errorf("%+v", r)
	}
}

func TestAReloadThatIsRefused(t *testing.T) {
	d := newDaemon(t)
	wrong := []string{"/etc/mtlsproxy/mtlsproxy.toml:7: [upstream.billing] pool.max: out of range (got 0, want 1 to 65536)", `identity "default": reading key: \x1b[31m`}
	refused := refuse(http.StatusUnprocessableEntity, api.Refused, "the configuration cannot be loaded", "", wrong...)
	const text = `/etc/mtlsproxy/mtlsproxy.toml:7: [upstream.billing] pool.max: out of range (got 0, want 1 to 65536)
identity "default": reading key: \x1b[31m
mtlsproxyctl: nothing has changed: 2 errors
`
	for _, answer := range []http.HandlerFunc{refused, asJSON(http.StatusOK, api.Reload{Errors: wrong})} {
		for _, verb := range []string{"reload", "check"} {
			d.says("POST /v1/"+verb, answer)
			host{socket: d.socket}.execute(t, verb).want(t, result{code: exitFailed, stderr: text})
			r := host{socket: d.socket}.execute(t, verb, "--json")
			if r.code != exitFailed || r.stderr != "" || !strings.Contains(r.stdout, `"class":"refused"`) || !strings.Contains(r.stdout, wrong[0]) {
				t.Errorf("%+v", r)
			}
		}
	}
}

// The daemon has logged each error to the same journal.
func TestAReloadThatSystemctlAskedForTellsNothingTwice(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/reload", refuse(http.StatusUnprocessableEntity, api.Refused, "the configuration cannot be loaded", "", "one", "two"))
	const short = "mtlsproxyctl: nothing has changed: 2 errors, of which mtlsproxyd has logged each; mtlsproxyctl check shows them again\n"
	const long = "one\ntwo\nmtlsproxyctl: nothing has changed: 2 errors\n"
	for _, c := range []struct {
		pid, flag, want string
	}{
		{strconv.Itoa(os.Getpid()), "--quiet", short},
		{strconv.Itoa(os.Getpid()), "--timeout=9s", long},
		{strconv.Itoa(os.Getppid()), "--quiet", long}, // a shell of a service
	} {
		host{socket: d.socket, env: map[string]string{"SYSTEMD_EXEC_PID": c.pid}}.execute(t, c.flag, "reload").want(t, result{code: exitFailed, stderr: c.want})
	}
}

func TestAReloadThatChangesNothing(t *testing.T) {
	d := newDaemon(t)
	for _, verb := range []string{"reload", "check"} {
		d.says("POST /v1/"+verb, asJSON(http.StatusOK, api.Reload{OK: true, Seconds: 0.002}))
	}
	host{socket: d.socket}.execute(t, "reload").want(t, result{stdout: "reloaded in 2.0 ms: nothing has changed\n"})
	host{socket: d.socket}.execute(t, "check", "--diff").want(t, result{stdout: "ok: a reload would change nothing\n"})
}

func TestASegmentThatCannotBeReadIsToldWithTheLog(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/log/stats", asJSON(http.StatusOK, api.LogStats{Enabled: true, Segments: []api.Segment{
		{Name: "requests-00000001-0.db", Bytes: 4096, Problem: "permission denied\x1b; run chown"},
	}}))
	r := host{socket: d.socket}.execute(t, "log", "stats")
	if want := "\ncannot be read: requests-00000001-0.db: permission denied\\x1b; run chown\n"; r.code != 0 || !strings.HasSuffix(r.stdout, want) || strings.Contains(r.stdout, "0001-01-01") {
		t.Errorf("got %+v, want %q at its end", r, want)
	}
}

func TestNotFound(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/drain", refuse(http.StatusNotFound, api.NotFound, `there is no upstream "biling"`, `did you mean "billing"?`))
	host{socket: d.socket}.execute(t, "drain", "biling").want(t, result{code: exitFailed, stderr: `mtlsproxyctl: there is no upstream "biling"
hint: did you mean "billing"?
`})
	host{socket: d.socket}.execute(t, "certs", "show", "nobody").want(t, result{code: exitFailed, stderr: `mtlsproxyctl: there is no identity "nobody"
hint: mtlsproxyctl certs lists them
`})
}

func TestAFailingDaemon(t *testing.T) {
	d := newDaemon(t)
	s := cannedStatus()
	s.Health.State = api.Failing
	d.says("GET /v1/status", asJSON(http.StatusOK, s))
	r := host{socket: d.socket}.execute(t, "status")
	if r.code != exitFailed || r.stderr != "" || !strings.HasPrefix(r.stdout, "mtlsproxyd 1.2.3: failing") {
		t.Errorf("%+v", r)
	}
	if r := (host{socket: d.socket}).execute(t, "status", "--json"); r.code != exitFailed || !strings.Contains(r.stdout, `"state": "failing"`) || strings.Contains(r.stdout, `"error": {`) {
		t.Errorf("%+v", r)
	}
}

func TestAnOldDaemon(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/version", asJSON(http.StatusOK, api.Version{Version: "9.0.0", API: "v9"}))
	d.says("GET /v1/limits", nil)
	host{socket: d.socket}.execute(t, "limits").want(t, result{code: exitFailed, stderr: "mtlsproxyctl: there is no /v1/limits\nhint: the daemon is version 9.0.0 (API v9), mtlsproxyctl is " +
		describe() + " (API v1); if it should know this, restart it: systemctl restart mtlsproxy\n"})
	d.says("GET /v1/limits", plainly(`{"limits":[]}`))
	r := host{socket: d.socket}.execute(t, "limits")
	if r.code != exitFailed || !strings.HasPrefix(r.stderr, "mtlsproxyctl: cannot understand the daemon: it is version 9.0.0 (API v9), mtlsproxyctl is "+describe()+" (API v1)\n") ||
		!strings.HasSuffix(r.stderr, "hint: install the same version of both, then: systemctl restart mtlsproxy\n") {
		t.Errorf("%+v", r)
	}
}

func TestVersionOfBothSides(t *testing.T) {
	d := newDaemon(t)
	f := func(theirs, api_, want string, code int) {
		t.Helper()
		d.says("GET /v1/version", asJSON(http.StatusOK, api.Version{Version: theirs, Go: "go1.26.8", API: api_, PID: 7}))
		host{socket: d.socket}.execute(t, "version").want(t, result{code: code, stdout: versionLine() + "\nmtlsproxyd " + theirs + " (go1.26.8, API " + api_ + ", pid 7)\n" + want})
	}
	f(describe(), "v1", "", exitOK)
	f("9.0.0", "v1", "They differ. If the installed version is newer than the daemon's, it runs after: systemctl restart mtlsproxy\n", exitOK)
	f("9.0.0", "v9", "They do not understand each other: mtlsproxyctl speaks API v1. Install the same version of both, then: systemctl restart mtlsproxy\n", exitFailed)
}

func TestSomethingElseAnswers(t *testing.T) {
	d := newDaemon(t)
	for _, path := range []string{"/v1/status", "/v1/version", "/v1/log/records", "/v1/upstreams"} {
		d.says("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "<html>\x1b[31m")
		})
	}
	for _, args := range []string{"status", "log", "upstreams", "log export", "top --once"} {
		r := host{socket: d.socket}.execute(t, strings.Fields(args)...)
		r.want(t, result{code: exitFailed, stderr: "mtlsproxyctl: what answers on " + d.socket + " does not speak the admin API v1 of mtlsproxyctl " + describe() + `
  the daemon answers 502 Bad Gateway, and not in the words of the admin API
hint: is it mtlsproxyd? --socket PATH names another socket
`})
	}
	d.says("GET /v1/status", plainly("hello"))
	if r := (host{socket: d.socket}).execute(t, "status"); r.code != exitFailed || !strings.Contains(r.stderr, "does not speak the admin API") {
		t.Errorf("%+v", r)
	}
}

func TestAnAnswerThatIsCutShort(t *testing.T) {
	d := newDaemon(t)
	text := regexp.MustCompile(`^mtlsproxyctl: the daemon ended (its answer|the stream) before it was complete; it may have stopped\n`)
	record, err := lineJSON(cannedRecords()[0])
	if err != nil {
		t.Fatal(err)
	}
	for path, args := range map[string]string{"/v1/log/records": "log", "/v1/log/tail": "log tail", "/v1/events": "events", "/v1/status": "status", "/metrics": "metrics"} {
		for _, said := range []string{`{"id":`, record + `{"id":`, record} {
			if path == "/v1/status" && strings.HasPrefix(said, record) {
				continue // which is whole
			}
			d.says("GET "+path, cut(said))
			if r := (host{socket: d.socket}).execute(t, strings.Fields(args)...); r.code != exitFailed || !text.MatchString(r.stderr) {
				t.Errorf("%s after %q: %+v", args, said, r)
			}
		}
	}
}

func TestADaemonThatClosesTheConnectionWithoutAnAnswer(t *testing.T) {
	d := newDaemon(t)
	for path, args := range map[string]string{"GET /v1/status": "status", "GET /v1/log/records": "log", "POST /v1/reload": "reload"} {
		d.says(path, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		const message = " closed the connection without an answer: it is stopping, or has too many of them"
		const hint = "try again; systemctl status mtlsproxy tells whether it stops"
		host{socket: d.socket}.execute(t, args).want(t, result{code: exitFailed, stderr: "mtlsproxyctl: the daemon on " + d.socket + message + "\nhint: " + hint + "\n"})
		host{socket: d.socket}.execute(t, args, "--json").want(t, result{code: exitFailed, stdout: `{"error":{"class":"no_answer","message":"the daemon on ` + d.socket + message + `","hint":"` + hint + `"}}` + "\n"})
	}
}

func TestAStreamThatIsCutBecauseReadingPaused(t *testing.T) {
	x, err := newControl(world{getenv: func(string) string { return "" }, now: func() time.Time { return noon }, stderr: io.Discard,
		ctx: t.Context(), terminal: func(io.Writer) (int, int, bool) { return 0, 0, false }}, globals{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e, code := x.explain(fmt.Errorf("%w: for 12m0s, and the daemon waits 10m0s", api.ErrPaused))
	if code != exitFailed || e.Class != classPaused || !strings.Contains(e.Message, "reading paused for too long: for 12m0s") || !strings.Contains(e.Hint, "log export --output") {
		t.Errorf("%d, %+v", code, e)
	}
}

func TestTheEndOfAStreamThatHasNone(t *testing.T) {
	d := newDaemon(t)
	for _, args := range []string{"log tail", "events --follow"} {
		r := host{socket: d.socket}.execute(t, strings.Fields(args)...)
		if r.code != exitFailed || !strings.Contains(r.stderr, "ended its answer") || !strings.Contains(r.stdout, "10:00:00.000") {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestAnErrorAtTheEndOfAStream(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/log/records", func(w http.ResponseWriter, r *http.Request) {
		lines(cannedRecords()[:1])(w, r)
		lines([]api.ErrorBody{{Error: &api.Error{Class: api.Internal, Message: "a segment is damaged", Hint: "mtlsproxyctl log stats"}}})(w, r)
	})
	r := host{socket: d.socket}.execute(t, "log")
	if r.code != exitFailed || !strings.Contains(r.stdout, "/v1/accounts/42") || r.stderr != "mtlsproxyctl: a segment is damaged\nhint: mtlsproxyctl log stats\n" {
		t.Errorf("%+v", r)
	}
	r = host{socket: d.socket}.execute(t, "log", "--json")
	if r.code != exitFailed || r.stderr != "" || !strings.HasSuffix(r.stdout, "\n"+`{"error":{"class":"internal","message":"a segment is damaged","hint":"mtlsproxyctl log stats"}}`+"\n") {
		t.Errorf("%+v", r)
	}
}

// hang answers when the test is over.
func hang(t *testing.T, first string) (http.HandlerFunc, <-chan struct{}) {
	t.Helper()
	asked, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(done) })
	return func(w http.ResponseWriter, r *http.Request) {
		if first != "" {
			io.WriteString(w, first)
			w.(http.Flusher).Flush()
		}
		close(asked)
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}, asked
}

func TestADaemonThatDoesNotAnswerInTime(t *testing.T) {
	d := newDaemon(t)
	f := func(first, path, args string) {
		t.Helper()
		answer, _ := hang(t, first)
		d.says(path, answer)
		host{socket: d.socket}.execute(t, append(strings.Fields(args), "--timeout=20ms")...).want(t, result{code: exitFailed, stderr: "mtlsproxyctl: the daemon on " + d.socket +
			" did not answer within 20ms\nhint: --timeout 120ms gives it longer; journalctl -u mtlsproxy may tell what holds it\n"})
	}
	f("", "GET /v1/status", "status")
	f("", "POST /v1/reload", "reload")
	f(" ", "GET /v1/limits", "limits")
	f("\n", "GET /v1/log/records", "log")
	f("\n", "GET /v1/events", "events")
}

func TestCtrlC(t *testing.T) {
	f := func(path, args string, want result) {
		t.Helper()
		d := newDaemon(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		answer, asked := hang(t, "\n")
		d.says(path, answer)
		go func() {
			<-asked
			cancel()
		}()
		host{socket: d.socket, ctx: ctx}.execute(t, strings.Fields(args)...).want(t, want)
	}
	f("GET /v1/status", "status", result{code: exitInterrupted})
	f("GET /v1/log/records", "log --all", result{code: exitInterrupted})
	f("GET /v1/status", "status --watch", result{})
	f("GET /v1/events", "events -f", result{})
	f("GET /v1/log/tail", "log tail --json", result{})
	f("GET /v1/status", "top --json", result{})
	f("GET /v1/status", "top --once", result{code: exitInterrupted})
	f("GET /v1/status", "status --json", result{code: exitInterrupted, stdout: `{"error":{"class":"interrupted","message":"interrupted"}}` + "\n"})
}

func TestRecordsThatWereLostAreTold(t *testing.T) {
	d := newDaemon(t)
	text := host{socket: d.socket}.execute(t, "log", "tail")
	if !strings.HasPrefix(text.stderr, "mtlsproxyctl: 12 records lost here: the daemon does not wait for a slow reader\n") {
		t.Errorf("%+v", text)
	}
	inJSON := host{socket: d.socket}.execute(t, "log", "tail", "--json")
	if !strings.Contains(inJSON.stdout, "\n{\"lost\":12}\n") || inJSON.stderr != "" {
		t.Errorf("%+v", inJSON)
	}
}

func TestABrokenPipeIsQuietOnlyOnStandardOutput(t *testing.T) {
	x, err := newControl(world{getenv: func(string) string { return "" }, now: func() time.Time { return noon }, stderr: io.Discard,
		ctx: t.Context(), terminal: func(io.Writer) (int, int, bool) { return 0, 0, false }}, globals{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/dev/stdout": exitOK, "/tmp/fifo": exitFailed} {
		if got := x.ended(nil, fmt.Errorf("printing: %w", &fs.PathError{Op: "write", Path: path, Err: syscall.EPIPE})); got != want {
			t.Errorf("%s: exit code %d, want %d", path, got, want)
		}
	}
}

func TestReloadAndCheckPrintNotesBesideTheOutcome(t *testing.T) {
	d := newDaemon(t)
	for verb, stdout := range map[string]string{"reload": "reloaded in 0: nothing has changed\n", "check": "ok: a reload would change nothing\n"} {
		d.says("POST /v1/"+verb, asJSON(http.StatusOK, api.Reload{OK: true, Notes: []string{"a rule names nobody"}}))
		host{socket: d.socket}.execute(t, verb).want(t, result{stdout: stdout, stderr: "note: a rule names nobody\n"})
		host{socket: d.socket}.execute(t, verb, "--quiet").want(t, result{})
	}
}
