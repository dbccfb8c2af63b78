package tlsclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// firstThen answers the first request in all with one response and the others with another.
func firstThen(first, then string) tlstest.Script {
	var seen atomic.Int32
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if _, err := c.ReadBody(r); err != nil {
				return
			}
			response := then
			if seen.Add(1) == 1 {
				response = first
			}
			if c.Write(response) != nil {
				return
			}
		}
	}
}

func on(statuses ...int) *tlsclient.RetryPolicy { return &tlsclient.RetryPolicy{Statuses: statuses} }

func TestUnwantedStatusIsAskedForAgain(t *testing.T) {
	for name, first := range map[string]string{
		"small body": tlstest.Response(503, "no"),
		"large body": tlstest.Response(503, strings.Repeat("x", 1<<20)),
		"chunked":    "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, firstThen(first, tlstest.OK))
			req := f.request("GET")
			req.Retry = on(502, 503)
			a := f.do(req)
			a.expect(t, 200, "ok")
			if s := f.upstream.State(); a.Attempts != 2 || s.Retries != 1 || s.Retried[tlsclient.RetryAnswered] != 1 {
				t.Errorf("%d attempts; %v", a.Attempts, s.Retried)
			}
		})
	}
}

// A status says that the request has been seen.
func TestUnwantedStatusIsPassedOn(t *testing.T) {
	for name, change := range map[string]func(*tlsclient.Request){
		"for a method that is not idempotent, listed or not": func(r *tlsclient.Request) { r.Method, r.Idempotent = []byte("POST"), false },
		"for a method that is not listed":                    func(r *tlsclient.Request) { r.Retry.Methods = []string{"HEAD"} },
		"for another status":                                 func(r *tlsclient.Request) { r.Retry.Statuses = []int{502} },
		"after the last attempt":                             func(r *tlsclient.Request) { r.Retry.Attempts = 1 },
		"without a policy":                                   func(r *tlsclient.Request) { r.Retry = nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, firstThen(tlstest.Response(503, "no"), tlstest.OK))
			req := f.request("GET")
			req.Retry = &tlsclient.RetryPolicy{Statuses: []int{503}, Methods: []string{"GET", "POST"}}
			change(req)
			f.do(req).expect(t, 503, "no")
			if s := f.server.Stats(); s.Requests != 1 {
				t.Errorf("the server saw %d requests, want 1", s.Requests)
			}
		})
	}
}

func TestUnwantedStatusAfterAnInformationalResponseIsPassedOn(t *testing.T) {
	f := start(t, firstThen("HTTP/1.1 103 Early Hints\r\n\r\n"+tlstest.Response(503, "no"), tlstest.OK))
	req := f.request("GET")
	req.Retry = on(503)
	f.do(req).expect(t, 503, "no")
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	f := start(t, firstThen("HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", tlstest.OK))
	req := f.request("GET")
	req.Retry = on(503)
	begin := time.Now()
	f.do(req).expect(t, 200, "ok")
	if d := time.Since(begin); d < time.Second {
		t.Errorf("the second attempt came after %v", d)
	}
}

func TestRetryAfterThatIsTooLongEndsTheExchange(t *testing.T) {
	for name, c := range map[string]struct {
		after string
		total time.Duration
	}{
		"for the time of the exchange": {"2", time.Second},
		"for anybody":                  {"86400", 0},
		"beyond counting":              {"9999999999", 0},
		"as a date":                    {"Fri, 31 Dec 2199 23:59:59 GMT", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, firstThen("HTTP/1.1 503 No\r\nRetry-After: "+c.after+"\r\nContent-Length: 2\r\n\r\nno", tlstest.OK),
				func(o *tlsclient.Options) { o.TotalTimeout = c.total })
			req := f.request("GET")
			req.Retry = on(503)
			f.do(req).expect(t, 503, "no")
			if s := f.upstream.State(); s.Retried[tlsclient.RetryNoTime] != 1 {
				t.Errorf("%v", s.Retried)
			}
		})
	}
}

func TestClientThatGoesEndsTheWaitForAnotherAttempt(t *testing.T) {
	f := start(t, firstThen("HTTP/1.1 503 No\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", tlstest.OK))
	gone := errors.New("gone")
	req := f.request("GET")
	req.Retry = on(503)
	f.client.abandoned.Store(&gone)
	begin := time.Now()
	if a := f.do(req); !errors.Is(a.err, gone) {
		t.Errorf("got %v, want the client's own error", a.err)
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestTimeOfOneTry(t *testing.T) {
	f := start(t, tlstest.PerConnection(tlstest.NeverAnswer(), tlstest.Static(tlstest.OK)))
	req := f.request("GET")
	req.Retry = &tlsclient.RetryPolicy{PerTry: 100 * time.Millisecond}
	a := f.do(req)
	a.expect(t, 200, "ok")
	if a.Attempts != 2 {
		t.Errorf("%d attempts, want 2", a.Attempts)
	}
	t.Run("is not for a request that may have been seen", func(t *testing.T) {
		f := start(t, tlstest.PerConnection(tlstest.NeverAnswer(), tlstest.Static(tlstest.OK)))
		req := f.request("POST")
		req.Retry = &tlsclient.RetryPolicy{PerTry: 100 * time.Millisecond}
		f.do(req).refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
	})
}

func TestTotalTimeIsForAllAttempts(t *testing.T) {
	f := start(t, tlstest.NeverAnswer(), func(o *tlsclient.Options) { o.TotalTimeout = 300 * time.Millisecond })
	req := f.request("GET")
	req.Retry = &tlsclient.RetryPolicy{PerTry: 200 * time.Millisecond, Attempts: 10}
	begin := time.Now()
	f.do(req).refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
	if d := time.Since(begin); d > 450*time.Millisecond {
		t.Errorf("it took %v", d)
	}
}

// dyingFirst ends the first connection once it has a request with its body.
func dyingFirst() tlstest.Script {
	return tlstest.PerConnection(tlstest.CloseBeforeResponse(tlstest.Reset), tlstest.Static(tlstest.OK))
}

func TestStreamedBodyIsSentAgainWhole(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 4096) // 64 KiB
	for name, c := range map[string]struct {
		framing http1.Framing
		body    string
		wire    string
	}{
		"by length":    {http1.ByLength, long, long},
		"chunked":      {http1.Chunked, long[:50_000], fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\nX-T: v\r\n\r\n", 20_000, long[:20_000], 30_000, long[20_000:50_000])},
		"chunks of it": {http1.Chunked, strings.Repeat("x", 300), strings.Repeat("1\r\nx\r\n", 300) + "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, dyingFirst())
			req := f.post(c.framing, int64(len(c.body)), strings.NewReader(c.wire), false)
			req.Method, req.Idempotent, req.Retry = []byte("PUT"), true, on()
			f.do(req).expect(t, 200, "ok")
			if seen := f.server.Requests(); len(seen) != 2 || string(seen[1].Body) != c.body {
				t.Errorf("the server saw %d requests, the last with %d bytes, want 2 and %d", len(seen), len(seen[len(seen)-1].Body), len(c.body))
			}
		})
	}
}

func TestBodyThatIsTooLongIsNotSentAgain(t *testing.T) {
	long := strings.Repeat("x", 64<<10+1)
	for name, c := range map[string]struct {
		framing http1.Framing
		wire    string
	}{
		"by length": {http1.ByLength, long},
		"chunked":   {http1.Chunked, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(long), long)},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, dyingFirst())
			req := f.post(c.framing, int64(len(long)), strings.NewReader(c.wire), false)
			req.Method, req.Idempotent, req.Retry = []byte("PUT"), true, on()
			f.do(req).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
			if s := f.server.Stats(); s.Requests != 1 {
				t.Errorf("the server saw %d requests, want 1", s.Requests)
			}
		})
	}
}

// The upstream does not wait for the body; the client has yet to send the rest.
func TestRestOfABodyIsWaitedForBeforeItIsSentAgain(t *testing.T) {
	died := make(chan struct{})
	f := start(t, tlstest.PerConnection(func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			c.End(tlstest.Reset)
		}
		close(died)
	}, tlstest.Static(tlstest.OK)))
	req := f.post(http1.ByLength, 10, &halting{parts: []string{"hello", "world"}, wait: died}, false)
	req.Method, req.Idempotent, req.Retry = []byte("PUT"), true, on()
	f.do(req).expect(t, 200, "ok")
	if seen := f.server.Requests(); string(seen[1].Body) != "helloworld" {
		t.Errorf("the second attempt had the body %q", seen[1].Body)
	}
}

// halting reads its parts one by one, and waits before the last.
type halting struct {
	parts []string
	slow  chan<- struct{} // nil, or told that it waits
	wait  <-chan struct{}
}

func (h *halting) Read(p []byte) (int, error) {
	if len(h.parts) == 1 {
		if h.slow != nil {
			h.slow <- struct{}{}
		}
		<-h.wait
	}
	n := copy(p, h.parts[0])
	h.parts = h.parts[1:]
	return n, nil
}

func TestAnotherEndpointIsPreferred(t *testing.T) {
	bad := tlstest.Static(tlstest.Response(503, "no"))
	f, second := two(t)
	f.server.Close()
	third := tlstest.NewServer(t, tlstest.ServerOptions{CA: f.ca, Script: bad})
	u := tlsclient.NewUpstream(options(third.Addr, second.Addr))
	t.Cleanup(u.Close)
	u.Use(f.generation(t, 1))
	both := &fixture{upstream: u}
	for range 8 {
		req := both.request("GET")
		req.Retry = on(503)
		if a := both.do(req); a.Status == 503 && u.State().Retried[tlsclient.RetryOverBudget] == 0 {
			t.Fatal("the second attempt went to the same endpoint")
		}
	}
}

// As a service that is restarted: a moment later it listens again.
func TestConnectingIsTriedAgain(t *testing.T) {
	var dials atomic.Int32
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		o.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return nil, errors.New("refused")
			}
			return new(net.Dialer).DialContext(ctx, "tcp", a.String())
		}
	})
	a := f.do(f.request("POST"))
	a.expect(t, 200, "ok")
	if a.Attempts != 2 {
		t.Errorf("%d attempts, want 2", a.Attempts)
	}
}

func TestUpstreamThatFailsAnswersAtOnce(t *testing.T) {
	var dials atomic.Int32
	f := start(t, nil, func(o *tlsclient.Options) {
		o.Retry.Attempts = 1
		o.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("no route")
		}
	})
	for range 7 {
		f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultUpstream)
	}
	for range 10 {
		a := f.do(f.request("GET"))
		a.refused(t, tlsclient.BreakerOpen, tlsclient.FaultUpstream)
		var e *tlsclient.Error
		if errors.As(a.err, &e); e.RetryAfter <= 0 || e.RetryAfter > 1500*time.Millisecond || !strings.Contains(e.Error(), "no route") {
			t.Fatalf("%v, after %v", e, e.RetryAfter)
		}
	}
	s := f.upstream.State().Endpoints[0]
	if dials.Load() != 7 || s.Breaker != tlsclient.Open || s.Opened != 1 || !s.Ejected || s.ConsecutiveFailures != 7 || !s.Shunned.Equal(s.Until) {
		t.Errorf("%d dials; %+v", dials.Load(), s)
	}
	f.upstream.Reset("")
	f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultUpstream)
}

func TestThoseWhoWaitAreToldWhenTheBreakerOpens(t *testing.T) {
	open := make(chan struct{})
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			<-open
			c.End(tlstest.Reset)
		}
	}, func(o *tlsclient.Options) { o.MaxConns, o.PoolWait, o.Breaker.Failures = 1, time.Minute, 1 })
	answers, wait := f.many(5)
	f.upstream.AwaitWaiters(4)
	close(open)
	wait()
	told := 0
	for _, a := range answers {
		var e *tlsclient.Error
		if errors.As(a.err, &e) && e.Class == tlsclient.BreakerOpen {
			told++
		}
	}
	if told != 4 {
		t.Errorf("%d were told, want 4", told)
	}
	if s := f.upstream.State(); s.Open != 0 || s.Waiting != 0 {
		t.Errorf("%d connections and %d waiters are left", s.Open, s.Waiting)
	}
}

// Else any client could have the upstream left alone by sending a body slowly.
func TestUpstreamThatDoesNotWaitForASlowClientIsNotBlamed(t *testing.T) {
	slow, died := make(chan struct{}), make(chan struct{})
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			<-slow
			c.End(tlstest.Reset)
		}
	})
	f.client.stop = func() { close(died) }
	f.do(f.post(http1.ByLength, 10, &halting{parts: []string{"hello", "world"}, slow: slow, wait: died}, false)).
		refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	if s := f.upstream.State().Endpoints[0]; s.ConsecutiveFailures != 0 {
		t.Errorf("%d failures", s.ConsecutiveFailures)
	}
}

// A server that is restarted ends all idle connections at once; that it is down, the next
// ones would show.
func TestEndOfAConnectionThatWasIdleIsNoFailureOfTheUpstream(t *testing.T) {
	f := start(t, dyingSecond)
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.do(f.request("POST")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	if s := f.upstream.State().Endpoints[0]; s.ConsecutiveFailures != 0 {
		t.Errorf("%d failures", s.ConsecutiveFailures)
	}
}

// scarce is memory of so many bytes, shared with nobody.
type scarce struct{ left atomic.Int64 }

func (s *scarce) Acquire(n int64) bool {
	if s.left.Add(-n) < 0 {
		s.left.Add(n)
		return false
	}
	return true
}

func (s *scarce) Release(n int64) { s.left.Add(n) }

func TestBodyIsKeptWhereThereIsMemory(t *testing.T) {
	const size = 40_000 // three buffers
	for name, c := range map[string]struct {
		memory   int64
		requests int
	}{"enough": {3 * 16 << 10, 2}, "too little": {3*16<<10 - 1, 1}} {
		t.Run(name, func(t *testing.T) {
			memory := new(scarce)
			memory.left.Store(c.memory)
			f := start(t, dyingFirst(), func(o *tlsclient.Options) { o.Memory = memory })
			req := f.post(http1.ByLength, size, strings.NewReader(strings.Repeat("x", size)), false)
			req.Method, req.Idempotent, req.Retry = []byte("PUT"), true, on()
			f.do(req)
			if s := f.server.Stats(); s.Requests != c.requests || memory.left.Load() != c.memory {
				t.Errorf("the server saw %d requests, want %d; %d bytes are left of %d", s.Requests, c.requests, memory.left.Load(), c.memory)
			}
		})
	}
}

// What another attempt would be answered says less.
func TestUnwantedStatusIsPassedOnIfNobodyElseMayBeAsked(t *testing.T) {
	came, drained := make(chan struct{}), make(chan struct{})
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			close(came)
			<-drained
			_ = c.Write(tlstest.Response(503, "no"))
		}
	})
	go func() {
		defer close(drained)
		<-came
		f.upstream.Drain("")
	}()
	req := f.request("GET")
	req.Retry = on(503)
	f.do(req).expect(t, 503, "no")
}

// late answers every request after a while.
func late(while time.Duration) tlstest.Script {
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if _, err := c.ReadBody(r); err != nil {
				return
			}
			if c.Pause(while); c.Write(tlstest.OK) != nil {
				return
			}
		}
	}
}

func TestTimeOfOneTryIsForThoseThatAnotherMayFollow(t *testing.T) {
	const try = 50 * time.Millisecond
	for name, change := range map[string]func(*tlsclient.Request){
		"a request that must not be sent again": func(r *tlsclient.Request) { r.Method, r.Idempotent = []byte("POST"), false },
		"a method that is not listed":           func(r *tlsclient.Request) { r.Retry.Methods = []string{"HEAD"} },
		"the last try":                          func(r *tlsclient.Request) { r.Retry.Attempts = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, late(4*try))
			req := f.request("GET")
			req.Retry = &tlsclient.RetryPolicy{Attempts: 3, PerTry: try}
			change(req)
			f.do(req).expect(t, 200, "ok")
		})
	}
}

// The upstream cannot answer before its client is done.
func TestTimeOfOneTryBeginsWithTheEndOfTheRequest(t *testing.T) {
	const try = 300 * time.Millisecond
	f := start(t, late(0))
	slow := make(chan struct{})
	go func() {
		<-time.After(2 * try)
		close(slow)
	}()
	req := f.post(http1.ByLength, 10, &halting{parts: []string{"hello", "world"}, wait: slow}, false)
	req.Method, req.Idempotent = []byte("PUT"), true
	req.Retry = &tlsclient.RetryPolicy{Attempts: 3, PerTry: try}
	a := f.do(req)
	a.expect(t, 200, "ok")
	if s := f.upstream.State().Endpoints[0]; a.Attempts != 1 || s.Failures > 0 {
		t.Errorf("%d attempts, %d failures of the endpoint", a.Attempts, s.Failures)
	}
}
