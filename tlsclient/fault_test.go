package tlsclient_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// atOnce is how many exchanges of a fault test are under way.
const atOnce = 16

// crowd runs do for 0 to n-1, many at a time.
func crowd(n int, do func(i int)) {
	var running sync.WaitGroup
	var next atomic.Int64
	for range atOnce {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	running.Wait()
}

// eager is a policy that wants everything to be sent again.
func eager() *tlsclient.RetryPolicy {
	return &tlsclient.RetryPolicy{
		Attempts: 5, Statuses: []int{500, 502, 503, 504}, Methods: []string{"GET", "PUT", "DELETE", "POST", "PATCH"}, PerTry: 80 * time.Millisecond,
	}
}

// faulty runs two misbehaving servers behind one upstream that forgives much.
func faulty(t *testing.T, m *tlstest.Misbehaviour, change ...func(*tlsclient.Options)) (*fixture, []*tlstest.Server) {
	t.Helper()
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	second := tlstest.NewServer(t, tlstest.ServerOptions{CA: ca, Script: m.Script()})
	change = append([]func(*tlsclient.Options){func(o *tlsclient.Options) {
		o.Endpoints = append(o.Endpoints, options(second.Addr).Endpoints...)
		o.MaxConns, o.MaxIdle = 2*atOnce, 2*atOnce
		o.HeaderTimeout = 100 * time.Millisecond
		o.Retry.Percent, o.Retry.Min = 100, 1000
		o.Breaker.OpenMin, o.Breaker.OpenMax = time.Millisecond, 5*time.Millisecond
	}}, change...)
	f := startServer(t, tlstest.ServerOptions{CA: ca, Script: m.Script()}, change...)
	return f, []*tlstest.Server{f.server, second}
}

// marked gives a request an id by which the servers count it.
func marked(req *tlsclient.Request, i int) *tlsclient.Request {
	req.Fields = append(req.Fields, http1.Field{Name: []byte(tlstest.IDHeader), Value: fmt.Append(nil, i)},
		http1.Field{Name: []byte("Idempotency-Key"), Value: fmt.Append(nil, i)})
	return req
}

// Whatever the upstream does, whatever the route and the client say: what may have been
// seen and is not idempotent is not sent again.
func TestFaultNonIdempotentRequestsAreExecutedOnceAtMost(t *testing.T) {
	const requests = 20_000
	m := tlstest.Misbehave(1, tlstest.Answer.Often(60), tlstest.CloseIdleNow.Often(6), tlstest.ResetBefore.Often(4), tlstest.ResetAfter.Often(4),
		tlstest.CloseAfter.Often(4), tlstest.BadGateway.Often(8), tlstest.StallForEver, tlstest.Garbage.Often(2), tlstest.CutHead.Often(4), tlstest.CutBody.Often(4))
	f, servers := faulty(t, m)
	body := strings.Repeat("x", 20_000)
	var good atomic.Int64
	crowd(requests, func(i int) {
		var req *tlsclient.Request
		switch i % 4 {
		case 0:
			req = f.post(http1.ByLength, 5, strings.NewReader("hello"), true)
		case 1:
			req = f.post(http1.ByLength, int64(len(body)), strings.NewReader(body), false)
		case 2:
			req = f.post(http1.Chunked, 0, strings.NewReader("5\r\nhello\r\n0\r\n\r\n"), false)
		default:
			req = f.request("POST")
		}
		if i%3 > 0 {
			req.Retry = eager()
		}
		if a := f.do(marked(req, i)); a.err == nil && a.Status == 200 {
			good.Add(1)
		}
	})
	counts := servers[0].Counts()
	for id, n := range servers[1].Counts() {
		counts[id] += n
	}
	twice := 0
	for id, n := range counts {
		if n > 1 {
			twice++
			t.Errorf("request %s was executed %d times", id, n)
		}
	}
	s := f.upstream.State()
	t.Logf("%d requests, %d executed, %d twice, %d answered well, %d retries; %v", requests, len(counts), twice, good.Load(), s.Retries, m.Done())
	if len(counts) < requests/2 || good.Load() < requests/2 {
		t.Errorf("%d requests were executed and %d answered: that shows too little", len(counts), good.Load())
	}
}

// The same faults, and requests that may be sent again: they are, and hardly any fails.
func TestFaultIdempotentRequestsGetThrough(t *testing.T) {
	const requests = 2000
	m := tlstest.Misbehave(2, tlstest.Answer.Often(60), tlstest.CloseIdleNow.Often(10), tlstest.ResetAfter.Often(10), tlstest.BadGateway.Often(10), tlstest.CloseAfter.Often(10))
	f, _ := faulty(t, m)
	body := strings.Repeat("y", 30_000)
	var lost atomic.Int64
	crowd(requests, func(i int) {
		req := f.request("GET")
		if i%2 == 0 {
			req = f.post(http1.ByLength, int64(len(body)), strings.NewReader(body), false)
			req.Method, req.Idempotent = []byte("PUT"), true
		}
		req.Retry = eager()
		if a := f.do(req); a.err != nil || a.Status != 200 {
			lost.Add(1)
		}
	})
	t.Logf("%d of %d lost, with %d retries", lost.Load(), requests, f.upstream.State().Retries)
	if lost.Load() > requests/50 {
		t.Errorf("%d of %d were lost", lost.Load(), requests)
	}
}

func TestFaultTruncatedResponsesNeverLookComplete(t *testing.T) {
	const responses = 5000
	m := tlstest.Misbehave(3, tlstest.CutBody, tlstest.CutChunks, tlstest.CutUnframed, tlstest.CutHead)
	f, _ := faulty(t, m, func(o *tlsclient.Options) { o.Breaker.Failures = 0 })
	var complete atomic.Int64
	crowd(responses, func(int) {
		if a := f.do(f.request("GET")); a.err == nil {
			complete.Add(1)
			t.Errorf("%d bytes look complete: …%q", len(a.body), a.body[max(0, len(a.body)-10):])
		}
	})
	t.Logf("%d responses cut short, %d look complete; %v", responses, complete.Load(), m.Done())
}

func TestFaultClientErrorsAreNotTheUpstreams(t *testing.T) {
	const requests = 1000
	f := start(t, func(c *tlstest.Conn) { // it gives up on a client that stops in the middle, and answers no other
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if r.Header.Get("Wait") != "" {
				c.WaitClosed()
			}
			if _, err := c.ReadBody(r); err != nil {
				c.End(tlstest.Reset)
				return
			}
			if c.Write(tlstest.OK) != nil {
				return
			}
		}
	}, func(o *tlsclient.Options) { o.Breaker.Failures, o.MaxConns = 1, 64 })
	gone := errors.New("gone")
	var wrong atomic.Int64
	crowd(requests, func(i int) {
		alone := &fixture{upstream: f.upstream}
		var req *tlsclient.Request
		switch i % 4 {
		case 0:
			req = alone.post(http1.Chunked, 0, strings.NewReader("5\r\nhello\r\nzz\r\n"), i%8 == 0)
		case 1:
			req = alone.post(http1.ByLength, 100_000, strings.NewReader("that is all"), false)
		case 2:
			req = alone.post(http1.ByLength, 100_000, io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(gone)), false)
		default:
			req = alone.request("GET")
			req.Fields = []http1.Field{{Name: []byte("Wait"), Value: []byte("1")}}
			alone.client.abandoned.Store(&gone)
			if i%40 != 3 {
				req = alone.post(http1.Chunked, 0, strings.NewReader("\r\n"), true)
			}
		}
		a := alone.do(req)
		var e *tlsclient.Error
		if a.err == nil || errors.As(a.err, &e) && e.Fault != tlsclient.FaultClient {
			wrong.Add(1)
			t.Errorf("request %d: %v", i, a.err)
		}
	})
	s := f.upstream.State().Endpoints[0]
	t.Logf("%d requests with errors of their clients, %d blamed on others; the endpoint has %d failures, its breaker opened %d times", requests, wrong.Load(), s.Failures, s.Opened)
	if s.Failures > 0 || s.Opened > 0 || s.ConsecutiveFailures > 0 || s.Breaker != tlsclient.Closed {
		t.Errorf("the endpoint is blamed: %+v", s)
	}
}

func TestFaultRetriesDoNotAmplify(t *testing.T) {
	const requests = 1000
	for name, fault := range map[string]tlstest.Fault{"reset": tlstest.ResetAfter, "502": tlstest.BadGateway} {
		t.Run(name, func(t *testing.T) {
			f, servers := faulty(t, tlstest.Misbehave(4, fault), func(o *tlsclient.Options) {
				o.Retry = tlsclient.RetryOptions{Attempts: 5, Percent: 20, Min: 3}
				o.Breaker.Failures = 0
			})
			begin := time.Now()
			crowd(requests, func(int) {
				req := f.request("GET")
				req.Retry = eager()
				f.do(req)
			})
			most := requests*12/10 + 3*(1+int(time.Since(begin)/(9*time.Second))) // the three come anew every ten seconds
			seen := servers[0].Stats().Requests + servers[1].Stats().Requests
			s := f.upstream.State()
			t.Logf("%d requests made %d, and %d retries were not made", requests, seen, s.Retried[tlsclient.RetryOverBudget])
			if seen > most || seen < requests || s.Retried[tlsclient.RetryOverBudget] == 0 {
				t.Errorf("%d requests made %d; %v", requests, seen, s.Retried)
			}
		})
	}
	t.Run("with breakers", func(t *testing.T) {
		f, servers := faulty(t, tlstest.Misbehave(5, tlstest.ResetAfter), func(o *tlsclient.Options) {
			o.Breaker.OpenMin, o.Breaker.OpenMax = time.Minute, time.Minute
		})
		var shed atomic.Int64
		crowd(requests, func(int) {
			var e *tlsclient.Error
			if errors.As(f.do(f.request("POST")).err, &e) && e.Class == tlsclient.BreakerOpen && e.RetryAfter > 0 {
				shed.Add(1)
			}
		})
		seen := servers[0].Stats().Requests + servers[1].Stats().Requests
		t.Logf("%d requests made %d, %d were shed", requests, seen, shed.Load())
		if seen > 7+21+2*atOnce || shed.Load() < requests-100 { // those under way when a breaker opens go on
			t.Errorf("%d requests made %d, %d were shed", requests, seen, shed.Load())
		}
	})
}

// A client that goes on asking while an endpoint is left alone must not save up retries
// for when it is back, and weak.
func TestFaultShedRequestsPayForNoRetries(t *testing.T) {
	const shed, requests, failures, percent, least = 5000, 100, 7, 20, 3
	var seen atomic.Int64
	f := start(t, func(c *tlstest.Conn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			if seen.Add(1) <= failures {
				c.End(tlstest.Reset)
				return
			}
			if c.Write(tlstest.Response(503, "busy")) != nil {
				return
			}
		}
	}, func(o *tlsclient.Options) {
		o.Breaker.OpenMin, o.Breaker.OpenMax = time.Minute, time.Minute
		o.Retry.Percent, o.Retry.Min, o.MaxConns, o.MaxIdle = percent, least, atOnce, atOnce
	})
	for range failures {
		f.do(f.request("POST")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	}
	for range shed {
		f.do(f.request("POST")).refused(t, tlsclient.BreakerOpen, tlsclient.FaultUpstream)
	}
	f.upstream.Reset("")
	crowd(requests, func(int) {
		req := (&fixture{upstream: f.upstream}).request("GET")
		req.Retry = &tlsclient.RetryPolicy{Attempts: 5, Statuses: []int{503}}
		f.do(req).expect(t, 503, "busy")
	})
	made := seen.Load() - failures
	t.Logf("%d requests after %d that were shed made %d", requests, shed, made)
	if most := int64((requests+failures)*percent/100 + least + requests); made > most || made < requests {
		t.Errorf("they made %d, at most %d may be", made, most)
	}
}

// However many wait, and however often it fails: one request at a time finds out.
func TestFaultNeverMoreThanOneProbe(t *testing.T) {
	var open atomic.Bool
	var under, most, probes atomic.Int64
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		if open.Load() {
			probes.Add(1)
			n := under.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			c.Pause(5 * time.Millisecond)
			under.Add(-1)
		}
		c.End(tlstest.Reset)
	}, func(o *tlsclient.Options) { o.Breaker.OpenMin, o.Breaker.OpenMax = time.Millisecond, time.Millisecond })
	for range 7 {
		f.do(f.request("POST")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	}
	open.Store(true)
	end := time.Now().Add(2 * time.Second)
	var asked atomic.Int64
	var running sync.WaitGroup
	for range 50 {
		running.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for time.Now().Before(end) && probes.Load() < 50 {
				f.do(f.request("POST"))
				asked.Add(1)
				<-pace.C
			}
		})
	}
	running.Wait()
	s := f.upstream.State().Endpoints[0]
	t.Logf("%d exchanges by 50 at a time, %d probes, at most %d at the same time", asked.Load(), probes.Load(), most.Load())
	if most.Load() != 1 || probes.Load() < 10 || int64(s.Probes) != probes.Load() {
		t.Errorf("%d probes, at most %d at the same time; %+v", probes.Load(), most.Load(), s)
	}
}

// dice may be thrown by several goroutines.
type dice struct {
	mu sync.Mutex
	*rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Rand.IntN(n)
}

// comparer is a server that often ends a connection before a request has come whole, or
// before it is answered. Of those that came whole it compares what it got with what the
// request says of itself.
type comparer struct {
	*testing.T
	dice
	whole atomic.Int64
}

func (s *comparer) script(c *tlstest.Conn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if n := s.IntN(5); n < 2 {
			io.CopyN(io.Discard, r.Body, int64(n*s.IntN(20_000)))
			c.End(tlstest.Reset)
			return
		}
		body, err := c.ReadBody(r)
		if err != nil {
			return
		}
		s.compare(r, body)
		if s.IntN(4) == 0 {
			c.End(tlstest.TCPClose)
			return
		}
		if c.Write(tlstest.Response([]int{200, 503}[s.IntN(2)], "")) != nil {
			return
		}
	}
}

func (s *comparer) compare(r *tlstest.Request, body []byte) {
	s.whole.Add(1)
	id, sum := r.Header.Get("Id"), fmt.Sprintf("%x", sha256.Sum256(body))
	if got := r.Header["Sum"]; len(got) != 1 || got[0] != sum || r.Method != "PUT" || r.RequestURI != "/"+id {
		s.Errorf("request %s came as %s %s with %d bytes that have sum %s, and said %v", id, r.Method, r.RequestURI, len(body), sum, got)
	}
	if chunked := r.ContentLength < 0; chunked && r.Trailer.Get("Last") != id || !chunked && len(r.Trailer) > 0 {
		s.Errorf("request %s has the trailers %v", id, r.Trailer)
	}
}

// wire is a body of size bytes as it comes from a client, with its sum.
func wire(d *rand.Rand, size, id int, chunked bool) (sent []byte, sum string) {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(d.Uint32())
	}
	sum = fmt.Sprintf("%x", sha256.Sum256(body))
	if !chunked {
		return body, sum
	}
	var b bytes.Buffer
	for len(body) > 0 {
		n := min(len(body), 1+d.IntN(9000))
		fmt.Fprintf(&b, "%x;e=1\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	fmt.Fprintf(&b, "0\r\nLast: %d\r\n\r\n", id)
	return b.Bytes(), sum
}

// sporadic gives some bytes at a time, sometimes after a while.
type sporadic struct {
	*rand.Rand
	rest []byte
}

func (s *sporadic) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	if s.IntN(4) == 0 {
		time.Sleep(time.Millisecond)
	}
	n := copy(p[:min(len(p), 1+s.IntN(16_000))], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// put makes a PUT that may be sent again. What its head says lies where the body will be
// read into, as it does when both come from a client.
func (f *fixture) put(d *rand.Rand, i int) *tlsclient.Request {
	size, chunked := d.IntN(70_000), i%2 == 0
	sent, sum := wire(d, size, i, chunked)
	reader := &http1.Reader{Src: &sporadic{d, sent}, Buf: make([]byte, 16<<10)}
	target := append(reader.Buf[:0], fmt.Sprint("/", i)...)
	says := append(target[len(target):], sum...)
	req := f.request("PUT")
	req.Target, req.Framing, req.Length, req.Body = target, http1.ByLength, int64(size), new(http1.Body)
	if chunked {
		req.Framing = http1.Chunked
	}
	req.Fields = []http1.Field{{Name: []byte("Id"), Value: target[1:]}, {Name: []byte("Sum"), Value: says}}
	req.Retry = &tlsclient.RetryPolicy{Statuses: []int{503}}
	req.Body.Open(reader, req.Framing, req.Length, nil)
	return req
}

// Head, body and trailers are put together anew for each attempt, from buffers and copies.
func TestFaultWhatIsSentAgainIsTheSame(t *testing.T) {
	const requests = 1000
	server := &comparer{T: t, dice: dice{Rand: rand.New(rand.NewPCG(6, 0))}}
	f := start(t, server.script, func(o *tlsclient.Options) {
		o.Retry = tlsclient.RetryOptions{Attempts: 4, Percent: 100, Min: 1000}
		o.Breaker.Failures, o.MaxConns, o.MaxIdle = 0, 2*atOnce, 2*atOnce
	})
	var good atomic.Int64
	crowd(requests, func(i int) {
		alone := &fixture{upstream: f.upstream}
		if a := alone.do(alone.put(rand.New(rand.NewPCG(6, uint64(i+1))), i)); a.err == nil && a.Status == 200 {
			good.Add(1)
		}
	})
	s := f.upstream.State()
	t.Logf("%d requests, %d came whole, %d were answered well, with %d retries", requests, server.whole.Load(), good.Load(), s.Retries)
	if good.Load() < requests/4 || s.Retries < requests/4 {
		t.Error("that shows too little")
	}
}
