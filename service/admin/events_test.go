package admin

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestEveryChangeIsAnEvent(t *testing.T) {
	for _, r := range table(ready, nobody) {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			w := start(t, ready)
			w.ask(t, 0, r.method, r.path, bodyFor(&r))
			log := w.log.String()
			triesOnly := r.path == "/v1/certs/probe" // upstreams see it, and the daemon stays as it is
			if r.changes != (r.needs == operate && !triesOnly) {
				t.Errorf("changes %v, needs %s", r.changes, r.needs)
			}
			if !r.changes {
				if log != "" {
					t.Errorf("an event for what changes nothing: %s", log)
				}
				return
			}
			for _, part := range []string{"level=INFO", "action=" + strings.TrimPrefix(r.path, "/v1/"), "uid=0", "user=root", "outcome=done"} {
				if strings.Count(log, part) != 1 {
					t.Errorf("want one %s in: %s", part, log)
				}
			}
			if r.accepts != nil && !strings.Contains(log, "subject=x") {
				t.Errorf("the event does not say of what: %s", log)
			}
		})
	}
}

func TestAChangeThatFailsIsAnEventToo(t *testing.T) {
	by := ""
	b := &fake{reload: func(_ context.Context, who string) (api.Reload, error) {
		by = who
		return api.Reload{}, &api.Error{Class: api.Refused, Message: "the file is broken"}
	}}
	w := start(t, b)
	w.ask(t, operator, "POST", "/v1/reload", "")
	for _, part := range []string{"outcome=refused", "uid=1002", "the file is broken"} {
		if !strings.Contains(w.log.String(), part) {
			t.Errorf("want %s in: %s", part, w.log)
		}
	}
	if by != "uid 1002" {
		t.Errorf("the backend is told that it was %q", by)
	}
}

func TestRefusalsAreLoggedTenTimesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		for range 25 {
			w.ask(t, stranger, "GET", "/v1/status", "")
		}
		if n := strings.Count(w.log.String(), "was refused"); n != 10 {
			t.Errorf("%d refusals logged, want 10", n)
		}
		if !strings.Contains(w.log.String(), "uid=1000") {
			t.Errorf("without the uid: %s", w.log)
		}
		<-time.After(time.Minute) // of the bubble's clock
		w.ask(t, stranger, "GET", "/v1/status", "")
		if !strings.Contains(w.log.String(), "not_logged=15") {
			t.Errorf("what was left out is not counted: %s", w.log)
		}
	})
}

func TestChangesAreEventsAtEveryLevel(t *testing.T) {
	b := *ready
	w := start(t, &b)
	b.setLevel = func(string) error { w.level.Set(slog.LevelError); return nil }
	w.ask(t, operator, "PUT", "/v1/level", `{"level":"error"}`)
	w.ask(t, operator, "POST", "/v1/drain", `{"upstream":"billing"}`)
	for _, part := range []string{"action=level subject=error", "action=drain subject=billing"} {
		if strings.Count(w.log.String(), part) != 1 {
			t.Errorf("want one %s in: %s", part, w.log)
		}
	}
}
