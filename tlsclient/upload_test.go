package tlsclient_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

var payload = strings.Repeat("0123456789abcdef", 20_000)

// chunked frames s in chunks of n bytes.
func chunked(s string, n int) string {
	var b []byte
	for len(s) > 0 {
		k := min(n, len(s))
		b = http1.AppendChunk(b, []byte(s[:k]))
		s = s[k:]
	}
	return string(http1.AppendLastChunk(b, nil))
}

func TestUploadArrivesWhole(t *testing.T) {
	for name, post := range map[string]func(*fixture) *tlsclient.Request{
		"by length": func(f *fixture) *tlsclient.Request {
			return f.post(http1.ByLength, int64(len(payload)), strings.NewReader(payload), false)
		},
		"chunked": func(f *fixture) *tlsclient.Request {
			return f.post(http1.Chunked, 0, strings.NewReader(chunked(payload, 5000)), false)
		},
		"chunked in large pieces": func(f *fixture) *tlsclient.Request {
			return f.post(http1.Chunked, 0, strings.NewReader(chunked(payload, 1<<20)), false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tlstest.Static(tlstest.OK))
			for i := range 3 {
				f.do(post(f)).expect(t, 200, "ok")
				if got := string(f.server.Requests()[i].Body); got != payload {
					t.Fatalf("the server got %d bytes that differ", len(got))
				}
			}
			if s := f.server.Stats(); s.Accepted != 1 {
				t.Errorf("%d connections, want 1", s.Accepted)
			}
		})
	}
}

// endless is a body that goes on until it is stopped.
type endless struct{ stopped chan struct{} }

func (e endless) Read(p []byte) (int, error) {
	select {
	case <-e.stopped:
		return 0, errors.New("stopped")
	default:
		return copy(p, payload), nil
	}
}

func TestEarlyAnswerEndsTheUpload(t *testing.T) {
	f := start(t, tlstest.Early(tlstest.Response(413, "too much"), false))
	body := endless{make(chan struct{})}
	f.client.stop = func() { close(body.stopped) }
	a := new(answer)
	if err := f.upstream.Do(f.post(http1.ByLength, 1<<40, body, false), &a.Response); err != nil {
		t.Fatal(err)
	}
	if !a.Early() {
		t.Error("the answer does not count as early")
	}
	a.read()
	a.Close()
	a.expect(t, 413, "too much")
	f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestExpectContinueIsPassedOn(t *testing.T) {
	f := start(t, tlstest.Continue(tlstest.OK))
	// The client sends its body only once it has seen the 100.
	r, w := io.Pipe()
	f.client.stop = func() { r.Close() }
	seen := continued{&f.client, w}
	req := f.post(http1.ByLength, 5, r, false)
	req.Continue, req.Client = true, seen
	f.do(req).expect(t, 200, "ok")
	if got := f.server.Requests()[0]; !strings.Contains(string(got.Head), "Expect: 100-continue\r\n") || string(got.Body) != "hello" {
		t.Errorf("got %q %q", got.Head, got.Body)
	}
}

type continued struct {
	*client
	body *io.PipeWriter
}

func (c continued) Informational(r *http1.Response) error {
	if r.Status == 100 {
		go c.body.Write([]byte("hello"))
	}
	return nil
}

func TestBrokenUploadIsTheClientsFault(t *testing.T) {
	cut := errors.New("the client went away")
	for name, c := range map[string]struct {
		framing http1.Framing
		body    io.Reader
		class   tlsclient.Class
	}{
		"chunk framing, at once": {http1.Chunked, strings.NewReader("zz\r\n"), tlsclient.BadRequest},
		"chunk framing, later":   {http1.Chunked, strings.NewReader(strings.TrimSuffix(chunked(payload, 9000), "0\r\n\r\n") + "zz\r\n"), tlsclient.BadRequest},
		"cut short":              {http1.ByLength, strings.NewReader(payload), tlsclient.ClientGone},
		"read error":             {http1.ByLength, io.MultiReader(strings.NewReader(payload), failing{cut}), tlsclient.ClientGone},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, tlstest.Static(tlstest.OK))
			a := f.do(f.post(c.framing, 1<<20, c.body, false))
			a.refused(t, c.class, tlsclient.FaultClient)
			f.server.Wait(t, "the connection to be closed", func(s tlstest.Stats) bool { return s.Open == 0 })
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestResponseIsDueOnceTheUploadIsOut(t *testing.T) {
	f := start(t, tlstest.NeverAnswer(), func(o *tlsclient.Options) { o.HeaderTimeout = 100 * time.Millisecond })
	a := f.do(f.post(http1.ByLength, int64(len(payload)), strings.NewReader(payload), false))
	a.refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
}

func TestUploadIsNotRepeated(t *testing.T) {
	f := start(t, dyingSecond)
	f.do(f.request("GET")).expect(t, 200, "ok")
	req := f.post(http1.ByLength, int64(len(payload)), strings.NewReader(payload), false)
	req.Method, req.Idempotent = []byte("PUT"), true
	f.do(req).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	if s := f.server.Stats(); s.Requests != 2 {
		t.Errorf("the server saw %d requests, want 2", s.Requests)
	}
}

// However the answer begins while a body is on its way, its head is awaited no
// longer than the timeout once the body is out.
func TestAnswerThatStallsAfterAnUploadTimesOut(t *testing.T) {
	for name, begin := range map[string]string{
		"after an interim response": "HTTP/1.1 100 Continue\r\n\r\n",
		"within the head":           "H",
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(c *tlstest.Conn) {
				r, err := c.ReadRequest()
				if err != nil || c.Write(begin) != nil {
					return
				}
				if _, err := c.ReadBody(r); err == nil {
					c.WaitClosed()
				}
			}, func(o *tlsclient.Options) { o.HeaderTimeout = 100 * time.Millisecond })
			a := f.do(f.post(http1.ByLength, int64(len(payload)), strings.NewReader(payload), false))
			a.refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
		})
	}
}

func TestSlowUploadDoesNotShortenTheWaitForTheAnswer(t *testing.T) {
	f := start(t, func(c *tlstest.Conn) {
		r, err := c.ReadRequest()
		if err != nil || c.Write("HTTP/1.1 100 Continue\r\n\r\n") != nil {
			return
		}
		if _, err := c.ReadBody(r); err == nil {
			c.WriteSlowly(50*time.Millisecond, tlstest.OK[:10], tlstest.OK[10:])
		}
	}, func(o *tlsclient.Options) { o.HeaderTimeout = 300 * time.Millisecond })
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		<-time.After(600 * time.Millisecond)
		io.WriteString(w, "hello")
	}()
	f.do(f.post(http1.ByLength, 5, r, false)).expect(t, 200, "ok")
}

func TestBrokenBodyCostsNoConnection(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	for range 5 {
		f.do(f.post(http1.Chunked, 0, strings.NewReader("zz\r\n"), true)).refused(t, tlsclient.BadRequest, tlsclient.FaultClient)
	}
	if s := f.server.Stats(); s.Accepted != 0 {
		t.Errorf("%d connections were opened, want none", s.Accepted)
	}
}
