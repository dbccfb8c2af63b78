package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

var ready = &fake{health: api.Health{Live: true, Ready: true, State: api.Healthy}}

// bodyFor is a body that a row takes.
func bodyFor(r *route) string {
	if r.accepts == nil {
		return ""
	}
	members := map[string]string{}
	for f := range r.accepts.Fields() {
		name, _ := member(f)
		members[name] = "x"
		if f.Type == reflect.TypeFor[[]byte]() {
			members[name] = "eA=="
		}
	}
	delete(members, "pkcs12") // which is in place of others
	b, _ := json.Marshal(members)
	return string(b)
}

func TestEveryRowServesThoseWhoMayAndNobodyElse(t *testing.T) {
	w := start(t, ready)
	for _, r := range table(ready, nobody) {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			for _, who := range []struct {
				uid uint32
				may []permission
			}{
				{stranger, []permission{connect}},
				{reader, []permission{connect, read}},
				{operator, []permission{connect, read, operate}},
				{0, []permission{connect, read, operate}},
			} {
				resp, body := w.ask(t, who.uid, r.method, r.path, bodyFor(&r))
				want := http.StatusForbidden
				if slices.Contains(who.may, r.needs) {
					want = http.StatusOK
				}
				if resp.StatusCode != want {
					t.Errorf("uid %d: %s, want %d: %s", who.uid, resp.Status, want, body)
				}
				if want == http.StatusForbidden {
					for _, part := range []string{string(api.NotPermitted), fmt.Sprintf("[admin] %s", r.needs), fmt.Sprintf("uid:%d", who.uid), "group"} {
						if !strings.Contains(body, part) {
							t.Errorf("refusal without %q: %s", part, body)
						}
					}
				}
			}
		})
	}
}

func TestEveryRowRefusesACallerThatIsNotKnown(t *testing.T) {
	w := start(t, ready)
	w.server.engine.who = func(net.Conn) (caller.Caller, error) {
		return caller.Caller{UID: 0}, errors.New("no idea") // a uid beside an error must not count
	}
	for _, r := range table(ready, nobody) {
		resp, body := w.ask(t, 0, r.method, r.path, bodyFor(&r))
		if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[r.needs == connect]; resp.StatusCode != want {
			t.Errorf("%s %s: %s, want %d: %s", r.method, r.path, resp.Status, want, body)
		}
	}
}

func TestPeerCredentialsDecide(t *testing.T) {
	w := start(t, ready)
	asked := make(chan caller.Caller, 8)
	w.server.engine.who = func(c net.Conn) (caller.Caller, error) {
		who, err := caller.Of(c)
		asked <- who
		return who, err
	}
	w.server.Use(Access{})
	// The test is the daemon's own user, who may do everything.
	for range 3 {
		if _, err := w.api.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(asked) != 1 || (<-asked).PID == 0 {
		t.Errorf("the kernel was asked %d times for one connection, or does not know its process", len(asked)+1)
	}
}

func TestEveryRowWantsItsMethod(t *testing.T) {
	w := start(t, ready)
	allowed := map[string][]string{}
	for _, r := range table(ready, nobody) {
		allowed[r.path] = append(allowed[r.path], r.methods()...)
	}
	for path, methods := range allowed {
		resp, body := w.ask(t, operator, http.MethodDelete, path, "")
		if resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(body, `"bad_method"`) {
			t.Errorf("DELETE %s: %s %s", path, resp.Status, body)
		}
		if got := resp.Header.Get("Allow"); got != strings.Join(methods, ", ") {
			t.Errorf("DELETE %s: Allow %q, want %q", path, got, methods)
		}
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	w := start(t, ready)
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/status/", "/v1/statu", "//v1/status", "/v1/../v1/status", "/V1/status", "*"} {
		req := "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
		c := w.connect(t)
		if _, err := io.WriteString(c, req); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") || !strings.Contains(string(answer), `"class":"not_found"`) {
			t.Errorf("%s: %s", path, answer)
		}
	}
}

func TestHeadIsAnsweredWithoutABody(t *testing.T) {
	w := start(t, ready)
	resp, body := w.ask(t, operator, http.MethodHead, "/v1/health", "")
	if resp.StatusCode != http.StatusOK || body != "" || resp.ContentLength <= 0 {
		t.Errorf("%s, %q, length %d", resp.Status, body, resp.ContentLength)
	}
	if resp, _ := w.ask(t, operator, http.MethodHead, "/v1/log/tail", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of a stream: %s", resp.Status)
	}
}

func TestUseTakesEffectAtOnce(t *testing.T) {
	w := start(t, ready)
	w.server.Use(Access{Read: set(t, "uid:1000")})
	if resp, _ := w.ask(t, stranger, "GET", "/v1/status", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the new reader is answered %s", resp.Status)
	}
	if resp, _ := w.ask(t, reader, "GET", "/v1/status", ""); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the old reader is answered %s", resp.Status)
	}
}

func TestHealthIsForProbes(t *testing.T) {
	b := &fake{health: api.Health{Live: true, State: api.Failing, Reasons: []api.Reason{{Subject: "x"}}}}
	w := start(t, b)
	for target, want := range map[string]int{
		"/v1/health": 503, "/v1/health?live": 200, "/v1/health?live=true": 200, "/v1/health?live=false": 503,
	} {
		resp, body := w.ask(t, reader, "GET", target, "")
		var h api.Health
		if err := json.Unmarshal([]byte(body), &h); err != nil || resp.StatusCode != want || !reflect.DeepEqual(h, b.health) {
			t.Errorf("%s: %s, want %d with the whole health: %s", target, resp.Status, want, body)
		}
		resp, body = w.ask(t, stranger, "GET", target, "")
		if want, got := fmt.Sprint(want, ` {"live":true,"ready":false,"state":"failing","reasons":[]}`), fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(body)); got != want {
			t.Errorf("%s: who may only connect gets %s, want %s", target, got, want)
		}
	}
	if strings.Contains(w.log.String(), "refused") {
		t.Errorf("asking for health is logged as a refusal: %s", w.log)
	}
	w.uid.Store(operator)
	if h, err := w.api.Health(t.Context()); err != nil || !reflect.DeepEqual(h, b.health) {
		t.Errorf("the client got %+v, %v", h, err)
	}
}

// Every method of the client finds its path.
func TestClientReachesEverything(t *testing.T) {
	w := start(t, ready)
	ctx, c := t.Context(), w.api
	target := api.Target{Upstream: "billing", Endpoint: "a:1"}
	one := func(got any, err error) (any, error) {
		if err == nil && reflect.ValueOf(got).IsZero() {
			err = errors.New("an empty answer")
		}
		return got, err
	}
	records := func(f func(func(api.Record) error) error) (any, error) {
		var got []string
		err := f(func(r api.Record) error { got = append(got, r.ID); return nil })
		return one(got, err)
	}
	for name, call := range map[string]func() (any, error){
		"Version":      func() (any, error) { v, err := c.Version(ctx); return one(v, err) },
		"Status":       func() (any, error) { v, err := c.Status(ctx); return one(v, err) },
		"Health":       func() (any, error) { v, err := c.Health(ctx); return one(v, err) },
		"Routes":       func() (any, error) { v, err := c.Routes(ctx); return one(v, err) },
		"Upstreams":    func() (any, error) { v, err := c.Upstreams(ctx); return one(v, err) },
		"Identities":   func() (any, error) { v, err := c.Identities(ctx); return one(v, err) },
		"Connections":  func() (any, error) { v, err := c.Connections(ctx); return one(v, err) },
		"Limits":       func() (any, error) { v, err := c.Limits(ctx); return one(v, err) },
		"LogStats":     func() (any, error) { v, err := c.LogStats(ctx); return one(v, err) },
		"Level":        func() (any, error) { v, err := c.Level(ctx); return one(v, err) },
		"SetLevel":     func() (any, error) { v, err := c.SetLevel(ctx, "debug"); return one(v, err) },
		"Reload":       func() (any, error) { v, err := c.Reload(ctx); return one(v, err) },
		"Check":        func() (any, error) { v, err := c.Check(ctx); return one(v, err) },
		"Drain":        func() (any, error) { v, err := c.Drain(ctx, target); return one(v, err) },
		"Resume":       func() (any, error) { v, err := c.Resume(ctx, target); return one(v, err) },
		"ResetBreaker": func() (any, error) { v, err := c.ResetBreaker(ctx, target); return one(v, err) },
		"Stage": func() (any, error) {
			v, err := c.Stage(ctx, api.Stage{Identity: "default", PKCS12: []byte("x")})
			return one(v, err)
		},
		"Probe":  func() (any, error) { v, err := c.Probe(ctx, "default"); return one(v, err) },
		"Commit": func() (any, error) { v, err := c.Commit(ctx, "default"); return one(v, err) },
		"Abort":  func() (any, error) { v, err := c.Abort(ctx, "default"); return one(v, err) },
		"Metrics": func() (any, error) {
			var b strings.Builder
			err := c.Metrics(ctx, &b)
			return one(b.String(), err)
		},
		"Records": func() (any, error) {
			return records(func(each func(api.Record) error) error {
				return c.Records(ctx, api.Query{Oldest: true, Limit: api.All}, each)
			})
		},
		"Tail": func() (any, error) {
			q := api.Query{Host: "*.example", Limit: 5, Oldest: true} // the last two play no part
			return records(func(each func(api.Record) error) error { return c.Tail(ctx, q, each, nil) })
		},
		"Events": func() (any, error) {
			return records(func(each func(api.Record) error) error {
				return c.Events(ctx, 3, true, func(e api.Event) error { return each(api.Record{ID: fmt.Sprint(e.Seq)}) }, nil)
			})
		},
	} {
		if got, err := call(); err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestBackendGetsTheWholeQuery(t *testing.T) {
	got := make(chan string, 1)
	b := &fake{events: func(_ context.Context, count int, follow bool, _ func(*api.Event) error, _ func(uint64) error) error {
		got <- fmt.Sprint(count, follow)
		return nil
	}}
	w := start(t, b)
	for target, want := range map[string]string{
		"/v1/events":                       "100 false",
		"/v1/events?count=0&follow":        "0 true",
		"/v1/events?follow=false":          "100 false",
		"/v1/events?count=7&follow=true":   "7 true",
		"/v1/events?count=2147483647":      "2147483647 false",
		"/v1/events?follow=true&count=010": "10 true",
	} {
		if resp, body := w.ask(t, reader, "GET", target, ""); resp.StatusCode != http.StatusOK || body != "" {
			t.Fatalf("%s: %s %s", target, resp.Status, body)
		}
		if g := <-got; g != want {
			t.Errorf("%s: the backend got %s, want %s", target, g, want)
		}
	}
}

func TestEveryParameterOfAQueryIsKnownToTheTable(t *testing.T) {
	w := start(t, ready)
	q := api.Query{
		ID: "1", Listener: "l", Route: "r", Upstream: "u", Endpoint: "e", Method: "GET", Host: "h", Path: "/p", Fault: "self",
		Caller: "root", Status: "5xx", Class: "any", Min: 1, Max: 2, Oldest: true, Limit: 3,
	}
	q.From, q.To = q.From.AddDate(2000, 0, 0), q.To.AddDate(2001, 0, 0)
	if missing := len(whichRecords) + len(howMany) - len(q.Values()); missing != 0 {
		t.Errorf("%d parameters are in the table that the query does not make", missing)
	}
	if err := w.api.Records(t.Context(), q, func(api.Record) error { return nil }); err != nil {
		t.Error(err)
	}
}
