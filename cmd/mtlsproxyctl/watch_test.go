package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// rounds makes waiting succeed so often, doing something each time.
func rounds(each ...func()) func(context.Context, time.Duration) error {
	return func(context.Context, time.Duration) error {
		if len(each) == 0 {
			return context.Canceled
		}
		next := each[0]
		each = each[1:]
		next()
		return nil
	}
}

func TestWatchWithoutATerminalPrintsAgain(t *testing.T) {
	d := newDaemon(t)
	once := host{socket: d.socket}.execute(t, "limits").stdout
	host{socket: d.socket, wait: rounds(func() {})}.execute(t, "limits", "--watch").want(t, result{stdout: once + "\n" + once})

	inJSON := host{socket: d.socket, wait: rounds(func() {})}.execute(t, "limits", "--watch=1s", "--json")
	if strings.Count(inJSON.stdout, "\n") != 2 || strings.Count(inJSON.stdout, "[{") != 2 {
		t.Errorf("%+v", inJSON)
	}
}

func TestHowOftenToWatch(t *testing.T) {
	d := newDaemon(t)
	for flag, want := range map[string]time.Duration{"--watch": 2 * time.Second, "--watch=500ms": 500 * time.Millisecond} {
		host{socket: d.socket, wait: func(_ context.Context, got time.Duration) error {
			if got != want {
				t.Errorf("%s waits %v", flag, got)
			}
			return context.Canceled
		}}.execute(t, "routes", flag)
	}
}

func TestWatchOnATerminalRedraws(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/limits", asJSON(http.StatusOK, []api.Limit{}))
	host{socket: d.socket, width: 80, wait: rounds(func() {})}.execute(t, "limits", "--watch").want(t, result{
		stdout: strings.Repeat(home+"no limits"+clearLine+"\n"+clearDown, 2)})
}

func TestWatchIsCutToTheTerminalsHeight(t *testing.T) {
	frame := strings.Repeat("line\n", 30)
	got := redrawn(frame, 80, 24)
	if n := strings.Count(got, "\n"); n != 23 || !strings.Contains(got, "… 8 more lines; a higher terminal shows them"+clearLine+"\n"+clearDown) {
		t.Errorf("%d lines:\n%s", n, got)
	}
	if got := redrawn(strings.Repeat("line\n", 23), 80, 24); strings.Contains(got, "more") || strings.Count(got, "line") != 23 {
		t.Errorf("what fits was cut:\n%s", got)
	}
	if got := redrawn(strings.Repeat("x", 200)+"\n"+frame, 80, 24); strings.Count(got, "line"+clearLine) != 19 {
		t.Errorf("a line that wraps counts as more than one:\n%s", got)
	}
}

func TestWatchOutlivesTheDaemon(t *testing.T) {
	d := newDaemon(t)
	back := d.answer["GET /v1/limits"]
	busy := refuse(http.StatusServiceUnavailable, api.Busy, "too many requests", "")
	gone, again := func() { d.says("GET /v1/limits", busy) }, func() { d.says("GET /v1/limits", back) }

	once := host{socket: d.socket}.execute(t, "limits").stdout
	host{socket: d.socket, wait: rounds(gone, again)}.execute(t, "limits", "--watch").want(t, result{stdout: once + "\n" + once, stderr: "mtlsproxyctl: too many requests\n"})
	r := host{socket: d.socket, width: 80, wait: rounds(gone, again)}.execute(t, "limits", "--watch")
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, home+"12:00:00"+clearLine+"\nmtlsproxyctl: too many requests") || strings.Count(r.stdout, "pool.max") != 2 {
		t.Errorf("%+v", r)
	}
	// Who begins without one is told so, and who reads JSON gets the error as its end.
	gone()
	host{socket: d.socket}.execute(t, "limits", "--watch").want(t, result{code: exitFailed, stderr: "mtlsproxyctl: too many requests\n"})
	again()
	r = host{socket: d.socket, wait: rounds(gone)}.execute(t, "limits", "--watch", "--json")
	if r.code != exitFailed || !strings.HasSuffix(r.stdout, `{"error":{"class":"busy","message":"too many requests"}}`+"\n") {
		t.Errorf("%+v", r)
	}
}

func TestAFailingDaemonIsWatchedOn(t *testing.T) {
	d := newDaemon(t)
	s := cannedStatus()
	s.Health.State = api.Failing
	d.says("GET /v1/status", asJSON(http.StatusOK, s))
	r := host{socket: d.socket, wait: rounds(func() {})}.execute(t, "status", "--watch")
	if r.code != 0 || strings.Count(r.stdout, ": failing, running") != 2 {
		t.Errorf("%+v", r)
	}
}
