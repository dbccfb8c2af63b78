package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// telling answers with one of the stats after another, and with the last for ever.
func telling(stats ...logStats) func(context.Context) (logStats, error) {
	return func(context.Context) (logStats, error) {
		s := stats[0]
		if len(stats) > 1 {
			stats = stats[1:]
		}
		return s, nil
	}
}

// after returns a log that has kept the record of the first request, and tells of the stats
// from then on.
func after(t *testing.T, stats ...logStats) *requestLog {
	t.Helper()
	l, err := newRequestLog(t.Context(), telling(append([]logStats{{Enabled: true, Written: 1}}, stats...)...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRequestLogWaitsForItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := after(t, logStats{Written: 1}, logStats{Written: 500}, logStats{Written: 1001}, logStats{Written: 1021})
		for _, requests := range []int64{1000, 20} {
			if err := l.settle(t.Context(), requests); err != nil {
				t.Fatal(err)
			}
		}
		if l.kept != 1020 || l.lost != 0 || len(l.faults) != 0 {
			t.Errorf("kept %d, lost %d, faults %v", l.kept, l.lost, l.faults)
		}
	})
}

func TestRequestLogMustHaveARecordOfEachRequest(t *testing.T) {
	f := func(name string, now logStats, kept, lost int64, want string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := after(t, now)
				if err := l.settle(t.Context(), 100); err != nil {
					t.Fatal(err)
				}
				if l.kept != kept || l.lost != lost {
					t.Errorf("kept %d, lost %d", l.kept, l.lost)
				}
				if len(l.faults) != 1 || !strings.Contains(l.faults[0].Error(), want) {
					t.Errorf("faults %v, want one with %q", l.faults, want)
				}
				// One fault is not told again after the next load.
				if err := l.settle(t.Context(), 0); err != nil || len(l.faults) != 1 {
					t.Errorf("faults %v, %v", l.faults, err)
				}
			})
		})
	}
	f("dropped", logStats{Written: 98, Dropped: 3}, 97, 3, "written 97 records and dropped 3 for 100 requests")
	f("missing", logStats{Written: 100, Error: "disk full"}, 99, 1, "written 99 records and dropped 0 for 100 requests: disk full")
	f("too many", logStats{Written: 102}, 101, -1, "written 101 records and dropped 0 for 100 requests")
	f("more dropped than missing", logStats{Written: 101, Dropped: 1}, 100, 0, "dropped 1")
}

func TestRequestLogMustBeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := func(now logStats, want string) {
			t.Helper()
			if _, err := newRequestLog(t.Context(), telling(now)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		f(logStats{}, "keeps no request log")
		f(logStats{Error: "no directory"}, "no directory")
		f(logStats{Enabled: true}, "no record within 10s")
	})
}

func TestRequestLogThatCannotBeAskedEndsTheRun(t *testing.T) {
	gone := errors.New("gone")
	l := after(t)
	l.ask = func(context.Context) (logStats, error) { return logStats{}, gone }
	if err := l.settle(t.Context(), 1); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

func TestRequestLogWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := after(t, logStats{Written: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.settle(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAdminSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method+r.URL.Path != "GET/v1/log/stats" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"enabled":true,"written":7,"dropped":2,"buffered_bytes":65,"error":"full","segments":[]}`))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	ask := adminSocket(path)
	if got, err := ask(t.Context()); err != nil || got != (logStats{true, 7, 2, 65, "full"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	status = http.StatusForbidden
	if _, err := ask(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("error %v for an answer of 403", err)
	}
	if err := errors.Join(server.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if _, err := ask(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v for a socket that is gone", err)
	}
}

func TestFaultsAreCountedAndKept(t *testing.T) {
	var said strings.Builder
	b := &bench{progress: &said, results: &results{values: make(map[cell]series)}}
	p := &running{peer: &peer{name: "mtlsproxy"}, log: &requestLog{kept: 5, lost: 1, faults: []error{errors.New("lost one")}}}
	b.account(2, p)
	b.account(2, p)
	b.account(2, &running{peer: &peer{name: "nginx"}})
	if v, _ := b.results.median(2, "mtlsproxy", "log.lost"); v != 2 {
		t.Errorf("lost %v", v)
	}
	if _, ok := b.results.median(2, "nginx", "log.lost"); ok {
		t.Error("nginx has a request log")
	}
	if len(b.faults) != 2 || !strings.Contains(said.String(), "FAIL mtlsproxy, N = 2: lost one") {
		t.Errorf("faults %v, said %q", b.faults, said.String())
	}
}
