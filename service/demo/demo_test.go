package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// once runs the demonstration without waiting and returns what it printed.
func once(t *testing.T, o Options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o.Once, o.Out, o.Log = true, &out, slog.New(slog.NewTextHandler(t.Output(), nil))
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0" // beside whatever else runs
	}
	err := Run(o)
	return out.String(), err
}

// emptyTemp makes a temporary directory for the demonstration, and checks at the
// end that it is empty again.
func emptyTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v (%v)", left, err)
		}
	})
	return dir
}

func TestOnceSucceedsAndLeavesNothing(t *testing.T) {
	dir := emptyTemp(t)
	leak.Check(t)
	out, err := once(t, Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(out, "failed") || strings.Count(out, "\n  ok\n") != 9 {
		t.Errorf("not every step is ok:\n%s", out)
	}
	for _, want := range []string{
		"certificate required", "client certificate: CN=demo client", "TLS 1.3", "Mtlsproxy-Error: no_route",
		"9 of 9 steps", "--unix-socket " + dir,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not say %q:\n%s", want, out)
		}
	}
}

func TestWrongUpstreamsAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    []string
	}{
		"silent": {
			func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") },
			[]string{"failed: the upstream did not see client certificate: CN=demo client", "failed: want 503 without Mtlsproxy-Error", "failed: want 101"},
		},
		"never well": {
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
			[]string{"failed: want 200, got 500 Internal Server Error", `failed: want 200 and the body, got 500 and "no\n"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t)
			emptyTemp(t)
			out, err := once(t, Options{Upstream: c.handler})
			if !errors.Is(err, ErrFailed) || err.Error() != ErrFailed.Error() {
				t.Errorf("error %v, want ErrFailed and nothing else", err)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("the output does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestATakenPortIsNoObstacle(t *testing.T) {
	leak.Check(t)
	if l, err := net.Listen("tcp", defaultListen); err == nil { // otherwise it is taken already
		defer l.Close()
	}
	emptyTemp(t)
	var out bytes.Buffer
	if err := Run(Options{Once: true, Out: &out, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if want := defaultListen + " is taken; using a free port\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("output does not begin with %q:\n%s", want, &out)
	}
}

func TestAnAskedForPortIsNotExchanged(t *testing.T) {
	leak.Check(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	emptyTemp(t)
	if out, err := once(t, Options{Listen: l.Addr().String()}); err == nil || !strings.Contains(err.Error(), "this address is taken") {
		t.Errorf("error %v\n%s", err, out)
	}
}

func TestTheFirstSignalLetsAnExchangeFinish(t *testing.T) {
	dir := emptyTemp(t)
	leak.Check(t)
	signals, ended, base := stayUp(t)
	keys, err := filepath.Glob(filepath.Join(dir, "*", "client.key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	if info, err := os.Stat(keys[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of the key: %v, %v", info.Mode(), err)
	}
	resp := get(t, base+"/slow?for=1s")
	signals <- syscall.SIGTERM
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "1s to go\n500ms to go\ndone\n" {
		t.Errorf("answer %q, %v", body, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheSecondSignalCutsItOff(t *testing.T) {
	emptyTemp(t)
	leak.Check(t)
	signals, ended, base := stayUp(t)
	resp := get(t, base+"/slow?for=1h")
	signals <- syscall.SIGINT
	signals <- syscall.SIGINT
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("an answer that was cut off looks complete")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// stayUp runs the demonstration until it waits for signals, and returns the URL of
// its daemon.
func stayUp(t *testing.T) (signals chan<- os.Signal, ended <-chan error, base string) {
	t.Helper()
	sig, end := make(chan os.Signal, 2), make(chan error, 1)
	out := &watched{found: make(chan string, 1), until: regexp.MustCompile(`stays up until ctrl-c(?s:.*)/slow\n(?s:.*)client\.key https\S*\n`)}
	go func() {
		end <- Run(Options{Listen: "127.0.0.1:0", Out: out, Log: slog.New(slog.DiscardHandler), Signals: sig})
	}()
	text := out.wait(t)
	return sig, end, strings.TrimSuffix(regexp.MustCompile(`http://\S+/slow`).FindString(text), "/slow")
}

// get returns an answer that has begun.
func get(t *testing.T, url string) *http.Response {
	t.Helper()
	c := &http.Client{Transport: new(http.Transport)}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// watched is output that somebody waits for.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until *regexp.Regexp
	found chan string
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.until != nil && w.until.Match(w.text.Bytes()) {
		w.until = nil
		w.found <- w.text.String()
	}
	return len(p), nil
}

func (w *watched) wait(t *testing.T) string {
	t.Helper()
	select {
	case text := <-w.found:
		return text
	case <-time.After(20 * time.Second):
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Fatalf("the output never came to %v:\n%s", w.until, &w.text)
		return ""
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":             "''",
		"/tmp/a-b_c.d": "/tmp/a-b_c.d",
		"a b":          "'a b'",
		"it's":         `'it'\''s'`,
		"$HOME":        "'$HOME'",
		"~":            "'~'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}
