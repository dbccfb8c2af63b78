package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestBadInputIsRefused(t *testing.T) {
	w := start(t, ready)
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		status               int
		says                 string
	}{
		"unknown parameter":         {"GET", "/v1/events?cuont=1", "", nil, 400, "there are count, follow"},
		"parameter where none is":   {"GET", "/v1/status?x", "", nil, 400, "there are none"},
		"parameter of a change":     {"POST", "/v1/reload?force=1", "", nil, 400, "there are none"},
		"parameter twice":           {"GET", "/v1/events?count=1&count=2", "", nil, 400, "2 times"},
		"count that is none":        {"GET", "/v1/events?count=-1", "", nil, 400, "want a number"},
		"count beyond all":          {"GET", "/v1/events?count=99999999999", "", nil, 400, "want a number"},
		"limit that is none":        {"GET", "/v1/log/records?limit=-2", "", nil, 400, "-1 for all"},
		"flag that is none":         {"GET", "/v1/events?follow=yes", "", nil, 400, "true or false"},
		"time that is none":         {"GET", "/v1/log/records?from=yesterday", "", nil, 400, "2006-01-02T15"},
		"duration that is none":     {"GET", "/v1/log/records?min=5", "", nil, 400, "250ms"},
		"negative duration":         {"GET", "/v1/log/records?min=-5s", "", nil, 400, "250ms"},
		"order that is none":        {"GET", "/v1/log/records?order=up", "", nil, 400, "oldest"},
		"tail with a limit":         {"GET", "/v1/log/tail?limit=5", "", nil, 400, "no parameter"},
		"query that is none":        {"GET", "/v1/events?count=%zz", "", nil, 400, "makes no sense"},
		"body where none is":        {"POST", "/v1/reload", "{}", nil, 400, "takes no body"},
		"body of a GET":             {"GET", "/v1/status", "{}", nil, 400, "takes no body"},
		"no content type":           {"POST", "/v1/drain", `{"upstream":"x"}`, []string{"Content-Type", ""}, 400, "application/json"},
		"content type of a form":    {"POST", "/v1/drain", `{"upstream":"x"}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "application/json"},
		"empty body":                {"POST", "/v1/drain", " ", nil, 400, "makes no sense"},
		"body that is no JSON":      {"POST", "/v1/drain", "upstream", nil, 400, "makes no sense"},
		"body cut short":            {"POST", "/v1/drain", `{"upstream":"x"`, nil, 400, "makes no sense"},
		"array for an object":       {"POST", "/v1/drain", `["x"]`, nil, 400, "makes no sense"},
		"number for a string":       {"POST", "/v1/drain", `{"upstream":1}`, nil, 400, "makes no sense"},
		"unknown member":            {"POST", "/v1/drain", `{"upstream":"x","force":true}`, nil, 400, `unknown field \"force\"`},
		"missing member":            {"POST", "/v1/drain", `{"endpoint":"x:1"}`, nil, 400, `lacks \"upstream\"`},
		"null":                      {"POST", "/v1/drain", `null`, nil, 400, `lacks \"upstream\"`},
		"something behind":          {"POST", "/v1/drain", `{"upstream":"x"} {}`, nil, 400, "goes on"},
		"garbage behind":            {"POST", "/v1/drain", `{"upstream":"x"}x`, nil, 400, "goes on"},
		"body of a level":           {"PUT", "/v1/level", `{}`, nil, 400, `lacks \"level\"`},
		"body that is too long":     {"POST", "/v1/drain", `{"upstream":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413, "at most 65536 bytes"},
		"stage of nothing":          {"POST", "/v1/certs/stage", `{"identity":"x"}`, nil, 400, `lacks \"cert\" and \"key\"`},
		"stage without a key":       {"POST", "/v1/certs/stage", `{"identity":"x","cert":"eA=="}`, nil, 400, `lacks \"cert\" and \"key\"`},
		"stage of two forms":        {"POST", "/v1/certs/stage", `{"identity":"x","key":"eA==","pkcs12":"eA=="}`, nil, 400, "in whose place"},
		"stage for nobody":          {"POST", "/v1/certs/stage", `{"pkcs12":"eA=="}`, nil, 400, `lacks \"identity\"`},
		"stage that is no base64":   {"POST", "/v1/certs/stage", `{"identity":"x","pkcs12":"-----BEGIN"}`, nil, 400, "base64"},
		"stage that is too long":    {"POST", "/v1/certs/stage", `{"identity":"x","pkcs12":"` + strings.Repeat("A", api.MaxStage) + `"}`, nil, 413, "at most 1048576 bytes"},
		"commit of nobody":          {"POST", "/v1/certs/commit", `{}`, nil, 400, `lacks \"identity\"`},
		"probe of nothing":          {"POST", "/v1/certs/probe", `{"name":""}`, nil, 400, `lacks \"name\"`},
		"web page":                  {"POST", "/v1/reload", "", []string{"Origin", "http://localhost"}, 403, "web pages"},
		"sandboxed web page":        {"POST", "/v1/reload", "", []string{"Origin", "null"}, 403, "web pages"},
		"web page without Origin":   {"GET", "/v1/status", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "web pages"},
		"web page of the same site": {"GET", "/v1/status", "", []string{"Sec-Fetch-Site", "same-origin"}, 403, "web pages"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := w.ask(t, operator, c.method, c.target, c.body, c.header...)
			if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%s %s; want %d and %q", resp.Status, body, c.status, c.says)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
	if strings.Contains(w.log.String(), "change was asked") {
		t.Errorf("bad input reached the backend:\n%s", w.log)
	}
}

func TestHeaderThatIsTooLongIsRefused(t *testing.T) {
	w := start(t, ready)
	for size, want := range map[int]string{4 << 10: "200", maxHeader: "431"} {
		c := w.connect(t)
		go fmt.Fprintf(c, "GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", size))
		status := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, status); err != nil || string(status) != "HTTP/1.1 "+want {
			t.Errorf("%d bytes: %s, %v, want %s", size, status, err, want)
		}
	}
}

func TestAnUnknownLengthIsBoundedToo(t *testing.T) {
	w := start(t, ready)
	w.uid.Store(operator)
	endless := io.MultiReader(strings.NewReader(`{"upstream":"`), bytes.NewReader(make([]byte, 2*maxBody)))
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://mtlsproxy/v1/drain", io.NopCloser(endless))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(resp.Status)
	}
}

func TestErrorsOfTheAPIGoOutAsTheyAre(t *testing.T) {
	want := &api.Error{Class: api.Refused, Message: "two things are wrong", Details: []string{"a <b>", "c"}, Hint: "mend them"}
	b := &fake{reload: func(context.Context, string) (api.Reload, error) {
		return api.Reload{}, fmt.Errorf("reloading: %w", want)
	}}
	w := start(t, b)
	resp, body := w.ask(t, operator, "POST", "/v1/reload", "")
	if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, `"details":["a <b>","c"]`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	_, err := w.api.Reload(t.Context())
	if got, ok := errors.AsType[*api.Error](err); !ok || got.Hint != want.Hint || len(got.Details) != 2 {
		t.Errorf("the client got %v", err)
	}
}

func TestOtherErrorsAreLoggedAndNotTold(t *testing.T) {
	b := &fake{metrics: func(io.Writer) error { return errors.New("secret in /etc/x") }}
	w := start(t, b)
	resp, body := w.ask(t, reader, "GET", "/metrics", "")
	if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, `"internal"`) || strings.Contains(body, "secret") {
		t.Errorf("%s %s", resp.Status, body)
	}
	if !strings.Contains(w.log.String(), "secret in /etc/x") {
		t.Errorf("not logged:\n%s", w.log)
	}
}

func TestAPanicEndsOneRequestOnly(t *testing.T) {
	b := &fake{routes: func() []api.Route { panic("broken") }}
	w := start(t, b)
	resp, body := w.ask(t, reader, "GET", "/v1/routes", "")
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "broken") {
		t.Errorf("%s %s", resp.Status, body)
	}
	if !strings.Contains(w.log.String(), "panic=broken") {
		t.Errorf("not logged:\n%s", w.log)
	}
	if resp, _ := w.ask(t, reader, "GET", "/v1/status", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the next request: %s", resp.Status)
	}
}
