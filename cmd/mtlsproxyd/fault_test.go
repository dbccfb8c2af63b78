package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// damage is something that happens to the files of a request log between two runs.
type damage struct {
	name string
	do   func(t *testing.T, segment string)
	// apart says that the segment must be put aside, or refused, for the daemon to carry on.
	apart bool
}

func damages() []damage {
	all := []damage{
		{"truncated", func(t *testing.T, s string) { must(t, os.Truncate(s, size(t, s)/2)) }, true},
		{"zero bytes", func(t *testing.T, s string) { must(t, os.Truncate(s, 0)) }, true},
		{"text", func(t *testing.T, s string) {
			must(t, os.WriteFile(s, []byte(strings.Repeat("this is no log\n", 4000)), 0o600))
		}, true},
		{"unreadable", func(t *testing.T, s string) { must(t, os.Chmod(s, 0)) }, os.Geteuid() != 0},
		{"a directory", func(t *testing.T, s string) { must(t, os.Remove(s)); must(t, os.Mkdir(s, 0o700)) }, false},
		{"locked", lock, false},
	}
	for seed := range uint64(40) {
		all = append(all, damage{fmt.Sprintf("pages, seed %d", seed), func(t *testing.T, s string) { scribble(t, s, seed) }, false})
	}
	return all
}

// Whatever is wrong with its files, every request is answered, the daemon is started again at most once, and the log
// goes on.
func TestFaultDamagedLogStopsNothing(t *testing.T) {
	if os.Getenv("MTLSPROXY_FAULTS") != "1" {
		t.Skip("SKIP it takes a minute; MTLSPROXY_FAULTS=1, as make test-faults sets it, runs it")
	}
	leak.Check(t)
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	u := tlstest.NewHTTPServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") }))
	dir := t.TempDir()
	ca.Client(t, "client").WriteFiles(t, dir, ca)
	whole := filepath.Join(dir, "whole")
	s := &faulted{dir: dir, log: whole, flags: []string{"--upstream", u.URL, "--cert", "client.crt", "--key", "client.key", "--ca", "ca.crt", "--listen", "127.0.0.1:0"}}
	s.begin(t)
	s.ask(t, 3000)
	s.end(t)
	for i, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			run := &faulted{dir: dir, log: filepath.Join(dir, fmt.Sprint("log", i)), flags: s.flags}
			must(t, os.CopyFS(run.log, os.DirFS(whole)))
			segments, err := filepath.Glob(filepath.Join(run.log, "*.db"))
			if err != nil || len(segments) == 0 {
				t.Fatalf("segments %v, %v", segments, err)
			}
			d.do(t, segments[0])
			run.begin(t)
			run.ask(t, 50)
			run.query(t)
			run.ask(t, 50)
			stats := run.stats(t)
			if d.apart && len(stats.Quarantined) == 0 && stats.Error == "" {
				t.Errorf("nothing says that a segment is damaged: %+v", stats)
			}
			if run.starts > 2 {
				t.Errorf("it was started %d times, want at most 2", run.starts)
			}
			t.Logf("started %d times; %d put aside, error %q", run.starts, len(stats.Quarantined), stats.Error)
			run.end(t)
		})
	}
}

// faulted is a daemon under somebody who starts it again when it ends.
type faulted struct {
	dir, log string
	flags    []string
	starts   int
	daemon   *daemon
}

func (f *faulted) begin(t *testing.T) {
	t.Helper()
	f.starts++
	f.daemon = start(t, f.dir, append(f.flags, "--set", "log.directory="+f.log, "--set", "admin.address="+f.socket())...)
}

func (f *faulted) socket() string { return fmt.Sprintf("/tmp/mtlsproxy-fault-%d.sock", os.Getpid()) }

func (f *faulted) end(t *testing.T) {
	t.Helper()
	f.daemon.signal(t, os.Interrupt)
	if code := f.daemon.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// alive starts the daemon again if it has ended.
func (f *faulted) alive(t *testing.T) {
	t.Helper()
	select {
	case <-f.daemon.ended:
		t.Logf("the daemon ended:\n%.2000s", f.daemon.output.String())
		f.begin(t)
	default:
	}
}

// ask sends n requests, each of which must be answered: by the daemon that is started again, if it ended.
func (f *faulted) ask(t *testing.T, n int) {
	t.Helper()
	client := &http.Client{Transport: new(http.Transport), Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for range n {
		f.alive(t)
		resp, err := client.Get("http://" + f.daemon.addr + "/")
		if err != nil {
			select {
			case <-f.daemon.ended:
				continue
			case <-time.After(time.Second):
				t.Fatal(err)
			}
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
}

// query reads all of the log, whatever comes of it.
func (f *faulted) query(t *testing.T) {
	t.Helper()
	c := api.NewClient(f.socket())
	defer c.Close()
	n := 0
	err := c.Records(t.Context(), api.Query{Limit: api.All}, func(api.Record) error { n++; return nil })
	t.Logf("%d records, %v", n, err)
	<-time.After(100 * time.Millisecond) // a crash takes a moment to end the process
	f.alive(t)
}

func (f *faulted) stats(t *testing.T) api.LogStats {
	t.Helper()
	c := api.NewClient(f.socket())
	defer c.Close()
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		s, err := c.LogStats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Written >= 50 || s.Error != "" || time.Now().After(deadline) {
			if s.Written < 50 && s.Error == "" {
				t.Errorf("the log does not go on: %+v", s)
			}
			return s
		}
	}
}

// scribble overwrites some stretches of the file with noise.
func scribble(t *testing.T, name string, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	b, err := os.ReadFile(name)
	must(t, err)
	for range 1 + random.IntN(4) {
		at := random.IntN(len(b))
		for i := at; i < min(len(b), at+1+random.IntN(4096)); i++ {
			b[i] = byte(random.Uint32())
		}
	}
	must(t, os.WriteFile(name, b, 0o600))
}

// lock holds the segment's lock, as another process that has it open would.
func lock(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	return info.Size()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
