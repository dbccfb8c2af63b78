package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// daemon answers with canned values.
type daemon struct {
	socket string
	mu     sync.Mutex
	asks   []string // method and URL of each question, and its body
	answer map[string]http.HandlerFunc
}

// newDaemon makes one that answers every question of the admin API.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{socket: filepath.Join(dir, "s"), answer: map[string]http.HandlerFunc{}}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	for path, v := range map[string]any{
		"GET /v1/version": cannedVersion(), "GET /v1/status": cannedStatus(), "GET /v1/routes": cannedStatus().Routes,
		"GET /v1/upstreams": cannedStatus().Upstreams, "GET /v1/identities": cannedStatus().Identities, "GET /v1/connections": cannedConnections(),
		"GET /v1/limits": cannedLimits(), "GET /v1/log/stats": cannedStatus().Log, "GET /v1/level": api.Level{Level: "info"},
		"PUT /v1/level": api.Level{Level: "debug"}, "POST /v1/reload": cannedReload(), "POST /v1/check": cannedReload(),
		"POST /v1/drain":         api.Changed{Message: "drained 1 endpoint of upstream \"billing\"", Targets: []string{"billing/10.0.0.1:8443"}},
		"POST /v1/resume":        api.Changed{Message: "resumed 2 endpoints of upstream \"billing\"", Targets: []string{"billing/10.0.0.1:8443", "billing/10.0.0.2:8443"}},
		"POST /v1/breaker/reset": api.Changed{Message: "reset 1 breaker of upstream \"billing\"", Targets: []string{"billing/10.0.0.2:8443"}},
		"POST /v1/certs/stage":   cannedStaged(), "POST /v1/certs/commit": cannedCommitted(), "POST /v1/certs/probe": cannedProbe(),
		"POST /v1/certs/abort": api.Changed{Message: "forgot what was staged for identity \"default\""},
	} {
		d.answer[path] = asJSON(http.StatusOK, v)
	}
	d.answer["GET /metrics"] = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, cannedMetrics(1)) }
	d.answer["GET /v1/log/records"] = lines(cannedRecords())
	d.answer["GET /v1/log/tail"] = func(w http.ResponseWriter, r *http.Request) {
		lines(cannedRecords()[:1])(w, r)
		io.WriteString(w, "\n{\"lost\":12}\n")
		lines(cannedRecords()[1:])(w, r)
	}
	d.answer["GET /v1/events"] = lines(cannedEvents())

	s := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return d
}

// ServeHTTP implements http.Handler.
func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.asks = append(d.asks, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL, body)))
	answer := d.answer[r.Method+" "+r.URL.Path]
	d.mu.Unlock()
	if answer == nil {
		answer = refuse(http.StatusNotFound, api.NotFound, "there is no "+r.URL.Path, "")
	}
	answer(w, r)
}

// says makes the daemon give another answer.
func (d *daemon) says(question string, answer http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer[question] = answer
}

// asked returns what the daemon was asked since the last time, one line each.
func (d *daemon) asked() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.asks)
	d.asks = nil
	return strings.Join(all, "\n")
}

func asJSON(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
}

func refuse(status int, class api.Class, message, hint string, details ...string) http.HandlerFunc {
	return asJSON(status, api.ErrorBody{Error: &api.Error{Class: class, Message: message, Hint: hint, Details: details}})
}

// lines is a stream.
func lines[T any](list []T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, v := range list {
			json.NewEncoder(w).Encode(v)
		}
	}
}

// plainly is an answer that is no JSON.
func plainly(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

// cut is an answer that ends too early: after some bytes the connection is closed.
func cut(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, s)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}
