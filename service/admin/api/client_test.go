package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// answered is a client whose requests get these bytes for an answer, and then the
// end of the connection.
func answered(t *testing.T, answer string) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(c, answer)
			}
			c.Close()
		}
	}()
	client := NewClient(path)
	t.Cleanup(func() { client.Close(); l.Close(); <-ended })
	return client
}

// reply is an answer of the given status.
func reply(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// lines is an answer that is a stream, and goes on unless it is whole.
func lines(whole bool, body string) string {
	s := fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(body), body)
	if whole {
		s += "0\r\n\r\n"
	}
	return s
}

func TestNobodyAnswers(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: gone, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{gone, filepath.Join(t.TempDir(), "none")} {
		c := NewClient(path)
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNotPermittedToConnect(t *testing.T) {
	c := NewClient("/x")
	err := c.dialError(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", os.ErrPermission)})
	if !errors.Is(err, ErrNotPermitted) {
		t.Error(err)
	}
}

func TestNotPermittedByTheDaemon(t *testing.T) {
	c := answered(t, reply("403 Forbidden", `{"error":{"class":"not_permitted","message":"uid 5 may not","hint":"ask root"}}`))
	_, err := c.Reload(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !errors.Is(err, ErrNotPermitted) || !ok || e.Hint != "ask root" {
		t.Error(err)
	}
}

func TestErrorsKeepTheirDetails(t *testing.T) {
	want := &Error{Class: Refused, Message: "two things", Details: []string{"a", "b"}, Hint: "mend them"}
	c := answered(t, reply("422 Unprocessable Entity", `{"error":{"class":"refused","message":"two things","details":["a","b"],"hint":"mend them"},"new":1}`))
	_, err := c.Reload(t.Context())
	if got, ok := errors.AsType[*Error](err); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", err)
	}
}

func TestForeignAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"page":           reply("404 Not Found", "<html>nothing here</html>"),
		"JSON of others": reply("500 Internal Server Error", `{"message":"oops"}`),
		"empty":          reply("502 Bad Gateway", ""),
		"plain success":  reply("200 OK", "hello"),
		"no HTTP":        "SSH-2.0-x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := answered(t, answer)
			_, err := c.Status(t.Context())
			if _, ours := errors.AsType[*Error](err); err == nil || ours || errors.Is(err, ErrNotRunning) || errors.Is(err, ErrNotPermitted) {
				t.Errorf("Status: %v", err)
			}
			if _, err := c.Health(t.Context()); err == nil {
				t.Error("Health is content")
			}
		})
	}
}

func TestConnectionThatIsClosedUnanswered(t *testing.T) {
	_, err := answered(t, "").Status(t.Context())
	if !errors.Is(err, ErrNoAnswer) {
		t.Error(err)
	}
}

// As a daemon does that has no room for more: the request may or may not have been
// written by then.
func TestConnectionThatIsClosedUnread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for range 300 {
		c := NewClient(path)
		_, get := c.Status(t.Context())
		_, post := c.Drain(t.Context(), Target{Upstream: "billing"})
		c.Close()
		if !errors.Is(get, ErrNoAnswer) || !errors.Is(post, ErrNoAnswer) {
			t.Fatalf("got %v and %v", get, post)
		}
	}
}

// canned answers every request with the same body, which then breaks off.
type canned struct{ body string }

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(c.body), iotest.ErrReader(io.ErrUnexpectedEOF))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body)}, nil
}

func TestAStreamThatIsCutAfterALongPauseSaysSo(t *testing.T) {
	for pause, want := range map[time.Duration]bool{Patience: true, Patience - 1: false} {
		synctest.Test(t, func(t *testing.T) {
			c := &Client{http: &http.Client{Transport: canned{"{\"id\":\"a\"}\n{\"id\":"}}}
			err := c.Records(t.Context(), Query{}, func(Record) error {
				time.Sleep(pause) // of the bubble's clock
				return nil
			})
			if err == nil || errors.Is(err, ErrPaused) != want || errors.Is(err, io.ErrUnexpectedEOF) == want {
				t.Errorf("after %v: %v", pause, err)
			}
		})
	}
}

func TestHealthOfADaemonThatIsNotReadyIsNoError(t *testing.T) {
	c := answered(t, reply("503 Service Unavailable", `{"live":true,"ready":false,"state":"failing","reasons":[{"subject":"x"}]}`))
	h, err := c.Health(t.Context())
	if err != nil || !h.Live || h.Ready || h.State != Failing || len(h.Reasons) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestHealthOfADaemonThatIsBusyIsAnError(t *testing.T) {
	c := answered(t, reply("503 Service Unavailable", `{"error":{"class":"busy","message":"too many"}}`))
	_, err := c.Health(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Class != Busy {
		t.Error(err)
	}
}

func TestUnknownMembersAreSkipped(t *testing.T) {
	c := answered(t, reply("200 OK", `{"level":"warn","since":"later versions"}`))
	if l, err := c.Level(t.Context()); err != nil || l.Level != "warn" {
		t.Errorf("%+v, %v", l, err)
	}
}

// read collects what a tail passes on.
func read(t *testing.T, c *Client) (got []string, err error) {
	t.Helper()
	err = c.Tail(t.Context(), Query{}, func(r Record) error { got = append(got, r.ID); return nil },
		func(n uint64) { got = append(got, fmt.Sprint(n)) })
	return got, err
}

func TestStreamOfValues(t *testing.T) {
	got, err := read(t, answered(t, lines(true, "\n{\"id\":\"a\"}\n\n{\"lost\":7}\n{\"id\":\"error\",\"new\":1}\n")))
	if err != nil || strings.Join(got, " ") != "a 7 error" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestStreamThatEndsWithAnError(t *testing.T) {
	got, err := read(t, answered(t, lines(true, "{\"id\":\"a\"}\n{\"error\":{\"class\":\"stopping\",\"message\":\"the daemon stops\"}}\n")))
	if e, ok := errors.AsType[*Error](err); !ok || e.Class != Stopping || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestStreamThatIsCutShortIsAnError(t *testing.T) {
	for name, body := range map[string]string{"between lines": "{\"id\":\"a\"}\n", "within a line": "{\"id\":\"a\"}\n{\"id\":"} {
		got, err := read(t, answered(t, lines(false, body)))
		if err == nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestStreamOfSomethingElseIsAnError(t *testing.T) {
	for name, body := range map[string]string{"text": "hello\n", "list": "[1]\n", "endless line": strings.Repeat("x", maxLine+1)} {
		if got, err := read(t, answered(t, lines(true, body))); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestStreamEndsWhenItsReaderHasEnough(t *testing.T) {
	enough := errors.New("enough")
	c := answered(t, lines(true, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n"))
	n := 0
	err := c.Records(t.Context(), Query{}, func(Record) error { n++; return enough })
	if !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d records, %v", n, err)
	}
}

func TestContextEndsARequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := answered(t, reply("200 OK", "{}")).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The classes and their statuses are the contract with clients in other languages.
func TestClassesHaveTheirStatus(t *testing.T) {
	for class, want := range map[Class]int{
		BadRequest: 400, Unauthenticated: 401, NotPermitted: 403, NotFound: 404, BadMethod: 405, TooLarge: 413,
		Refused: 422, Busy: 503, Stopping: 503, Internal: 500, "later": 500,
	} {
		if got := class.Status(); got != want {
			t.Errorf("%s: %d, want %d", class, got, want)
		}
	}
}

func TestTargetIsWrittenAsItIsAskedFor(t *testing.T) {
	for want, target := range map[string]Target{"a": {Upstream: "a"}, "a/b:1": {Upstream: "a", Endpoint: "b:1"}} {
		if got := target.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSocketsInTheOrderOfLikelihood(t *testing.T) {
	for _, c := range []struct {
		uid  int
		env  map[string]string
		want []string
	}{
		{0, map[string]string{"XDG_RUNTIME_DIR": "/run/user/0"}, []string{SystemSocket}},
		{5, nil, []string{SystemSocket}},
		{5, map[string]string{"XDG_RUNTIME_DIR": "/run/user/5"}, []string{"/run/user/5/mtlsproxy/admin.sock", SystemSocket}},
		{5, map[string]string{"XDG_RUNTIME_DIR": "relative"}, []string{SystemSocket}},
		{5, map[string]string{"XDG_RUNTIME_DIR": "/run/user/5", "RUNTIME_DIRECTORY": "/run/x"}, []string{"/run/x/admin.sock", SystemSocket}},
	} {
		if got := Sockets(c.uid, func(k string) string { return c.env[k] }); !reflect.DeepEqual(got, c.want) {
			t.Errorf("uid %d, %v: got %v, want %v", c.uid, c.env, got, c.want)
		}
	}
}
