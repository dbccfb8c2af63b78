package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

type tailer = func(ctx context.Context, q url.Values, each func(*api.Record) error, lost func(uint64) error) error

// open begins a tail and returns its answer.
func (w *world) open(t *testing.T, uid uint32) *http.Response {
	t.Helper()
	w.uid.Store(uid)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://mtlsproxy/v1/log/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// silent is a tail without a record, until it is told to end.
func silent(ctx context.Context, _ url.Values, _ func(*api.Record) error, _ func(uint64) error) error {
	<-ctx.Done()
	return nil
}

func TestStreamIsLinesOfJSON(t *testing.T) {
	b := &fake{tail: func(_ context.Context, _ url.Values, each func(*api.Record) error, lost func(uint64) error) error {
		return errors.Join(each(&api.Record{ID: "a", Path: "/<&>"}), lost(3), each(&api.Record{ID: "b"}))
	}}
	w := start(t, b)
	resp, body := w.ask(t, reader, "GET", "/v1/log/tail", "")
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Errorf("%s, Content-Type %q", resp.Status, got)
	}
	lines := strings.Split(body, "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], `"/<&>"`) || lines[1] != `{"lost":3}` || !strings.Contains(lines[2], `"b"`) || lines[3] != "" {
		t.Errorf("%q", lines)
	}
	var got []string
	err := w.api.Tail(t.Context(), api.Query{}, func(r api.Record) error { got = append(got, r.ID); return nil },
		func(n uint64) { got = append(got, fmt.Sprint(n)) })
	if err != nil || strings.Join(got, " ") != "a 3 b" {
		t.Errorf("the client got %v, %v", got, err)
	}
}

func TestValuesGoOutAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	b := &fake{tail: func(_ context.Context, _ url.Values, each func(*api.Record) error, _ func(uint64) error) error {
		for i := range 3 {
			if err := each(&api.Record{ID: fmt.Sprint(i)}); err != nil {
				return err
			}
			<-next // until the test has read it
		}
		return nil
	}}
	w := start(t, b)
	n := 0
	err := w.api.Tail(t.Context(), api.Query{}, func(api.Record) error { n++; next <- struct{}{}; return nil }, nil)
	if err != nil || n != 3 {
		t.Errorf("%d records, %v", n, err)
	}
}

// countingWriter counts how often the server sends what has gathered.
type countingWriter struct {
	http.ResponseWriter
	writes, flushes int
}

func (w *countingWriter) Write(p []byte) (int, error)      { w.writes++; return w.ResponseWriter.Write(p) }
func (w *countingWriter) FlushError() error                { w.flushes++; return nil }
func (w *countingWriter) SetWriteDeadline(time.Time) error { return nil }

func TestManyValuesGoOutTogether(t *testing.T) {
	const values = 20_000
	b := &fake{tail: func(_ context.Context, _ url.Values, each func(*api.Record) error, _ func(uint64) error) error {
		for range values {
			if err := each(&api.Record{ID: "r"}); err != nil {
				return err
			}
		}
		return nil
	}}
	w := start(t, b)
	inner := w.server.engine.http.Handler
	counted := make(chan *countingWriter, 1)
	w.server.engine.http.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c := &countingWriter{ResponseWriter: rw}
		inner.ServeHTTP(c, r)
		counted <- c
	})
	_, body := w.ask(t, reader, "GET", "/v1/log/tail", "")
	if n := strings.Count(body, "\n"); n != values {
		t.Errorf("%d lines, want %d", n, values)
	}
	if c := <-counted; c.writes > values/4 || c.flushes > values/4 {
		t.Errorf("%d writes and %d flushes for %d values", c.writes, c.flushes, values)
	}
}

func TestQuietStreamShowsThatItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, &fake{tail: silent})
		begin := time.Now()
		body := bufio.NewReader(w.open(t, reader).Body)
		for _, want := range []time.Duration{time.Second, 16 * time.Second, 31 * time.Second} {
			line, err := body.ReadString('\n')
			if err != nil || line != "\n" || time.Since(begin) != want {
				t.Fatalf("after %v: %q, %v; want an empty line after %v", time.Since(begin), line, err, want)
			}
		}
	})
}

func TestErrorBeforeTheFirstValueHasItsStatus(t *testing.T) {
	b := &fake{records: func(context.Context, url.Values, func(*api.Record) error) error {
		return &api.Error{Class: api.BadRequest, Message: `status "6xx" makes no sense`}
	}}
	w := start(t, b)
	resp, body := w.ask(t, reader, "GET", "/v1/log/records?status=6xx", "")
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "6xx") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestErrorAfterAValueIsTheLastLine(t *testing.T) {
	b := &fake{records: func(_ context.Context, _ url.Values, each func(*api.Record) error) error {
		return errors.Join(each(&api.Record{ID: "a"}), &api.Error{Class: api.Refused, Message: "a segment is damaged"})
	}}
	w := start(t, b)
	_, body := w.ask(t, reader, "GET", "/v1/log/records", "")
	if lines := strings.Split(body, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], `{"error":{"class":"refused"`) {
		t.Errorf("%q", lines)
	}
	n := 0
	err := w.api.Records(t.Context(), api.Query{}, func(api.Record) error { n++; return nil })
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Class != api.Refused || n != 1 {
		t.Errorf("the client got %d records and %v", n, err)
	}
}

func TestAPanicInAStreamLeavesItIncomplete(t *testing.T) {
	b := &fake{records: func(_ context.Context, _ url.Values, each func(*api.Record) error) error {
		_ = each(&api.Record{ID: "a"})
		panic("broken")
	}}
	w := start(t, b)
	if err := w.api.Records(t.Context(), api.Query{}, func(api.Record) error { return nil }); err == nil {
		t.Error("a stream that was cut looks complete")
	}
	if !strings.Contains(w.log.String(), "panic=broken") {
		t.Errorf("not logged: %s", w.log)
	}
}

func TestClientThatGoesEndsTheBackendsContext(t *testing.T) {
	ended := make(chan error, 1)
	b := &fake{tail: func(ctx context.Context, _ url.Values, each func(*api.Record) error, _ func(uint64) error) error {
		err := each(&api.Record{})
		<-ctx.Done()
		ended <- ctx.Err()
		return err
	}}
	w := start(t, b)
	enough := errors.New("enough")
	err := w.api.Tail(t.Context(), api.Query{}, func(api.Record) error { return enough }, nil)
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	within(t, "the end of the backend's context", ended)
}

const tailRequest = "GET /v1/log/tail HTTP/1.1\r\nHost: x\r\n\r\n"

func TestClientThatPausesForTooLongIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Duration, 1)
		begin := time.Now()
		b := &fake{tail: func(ctx context.Context, _ url.Values, each func(*api.Record) error, _ func(uint64) error) error {
			err := each(&api.Record{ID: "r"})
			<-ctx.Done()
			ended <- time.Since(begin)
			return err
		}}
		w := startPipes(t, b)
		c := w.connect(t)
		if _, err := io.WriteString(c, tailRequest); err != nil {
			t.Fatal(err)
		}
		if got := <-ended; got != api.Patience {
			t.Errorf("it ended after %v, want %v", got, api.Patience)
		}
		if rest, _ := io.ReadAll(c); strings.HasSuffix(string(rest), "0\r\n\r\n") {
			t.Errorf("a stream that was cut looks complete: %q", rest)
		}
	})
}

func TestBackendThatWaitsForAClientIsFreedWhenItGoes(t *testing.T) {
	ended := make(chan int, 1)
	b := &fake{tail: func(_ context.Context, _ url.Values, each func(*api.Record) error, _ func(uint64) error) error {
		r := &api.Record{Path: strings.Repeat("x", 1<<10)}
		for n := 0; ; n++ {
			if err := each(r); err != nil {
				ended <- n
				return err
			}
		}
	}}
	w := start(t, b)
	c := w.connect(t)
	if _, err := io.WriteString(c, tailRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := within(t, "the backend's end", ended); n > 2000 { // KiB, far more than fits the socket
		t.Errorf("%d records were taken from the backend for a client that reads nothing", n)
	}
}

func TestReaderThatMayNoLongerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, &fake{tail: silent})
		resp := w.open(t, reader)
		w.server.Use(Access{})
		begin := time.Now()
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(string(body), "\n{\"error\":{\"class\":\"not_permitted\"") {
			t.Errorf("%q, %v", body, err)
		}
		if d := time.Since(begin); d > heartbeat {
			t.Errorf("told after %v", d)
		}
	})
}

func TestCloseEndsStreamsWithAnErrorLine(t *testing.T) {
	for name, tail := range map[string]tailer{
		"backend that returns nil": silent,
		"backend that returns the context's error": func(ctx context.Context, _ url.Values, _ func(*api.Record) error, _ func(uint64) error) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startPipes(t, &fake{tail: tail})
				resp := w.open(t, reader) // returns with the first sign of life
				begin := time.Now()
				body := make(chan string, 1)
				go func() {
					b, err := io.ReadAll(resp.Body)
					body <- fmt.Sprint(string(b), err)
				}()
				w.server.Close()
				if d := time.Since(begin); d > graceTime/2 {
					t.Errorf("Close took %v", d)
				}
				if got := <-body; !strings.HasPrefix(got, "\n{\"error\":{\"class\":\"stopping\"") || !strings.HasSuffix(got, "}}\n<nil>") {
					t.Errorf("the stream ends with %q", got)
				}
			})
		})
	}
}
