package tlsclient_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// resetFirst resets its first n connections once they carry a request's head, and answers
// on the others.
func resetFirst(n int) tlstest.Script {
	return func(c *tlstest.Conn) {
		if c.Index >= n {
			tlstest.Static(tlstest.OK)(c)
		} else if _, err := c.ReadHead(); err == nil {
			c.End(tlstest.Reset)
		}
	}
}

// dawdling is a PUT that may be sent again, whose client has sent half of its body. It
// has a fixture of its own, for its client.
type dawdling struct {
	*fixture
	body *io.PipeWriter
	done chan *answer
}

func (f *fixture) dawdle(t *testing.T) *dawdling {
	t.Helper()
	d, refused := f.tryToDawdle()
	if refused != nil {
		t.Fatal(refused)
	}
	return d
}

func (f *fixture) tryToDawdle() (d *dawdling, refused error) {
	r, w := io.Pipe()
	d = &dawdling{fixture: &fixture{upstream: f.upstream}, body: w, done: make(chan *answer, 1)}
	d.client.stop = func() { r.CloseWithError(io.ErrClosedPipe) }
	req := d.post(http1.ByLength, 10, r, false)
	req.Method, req.Idempotent, req.Retry = []byte("PUT"), true, on()
	half := make(chan struct{})
	go func() {
		defer close(half)
		io.WriteString(w, "hello")
	}()
	go func() { d.done <- d.do(req) }()
	select {
	case <-half:
		return d, nil
	case a := <-d.done: // nothing of the body was wanted
		r.Close()
		<-half
		return nil, a.err
	}
}

// end sends the other half.
func (d *dawdling) end() *answer {
	io.WriteString(d.body, "world")
	return <-d.done
}

// tripped has the endpoint fail so often, and returns once its breaker awaits a probe.
func (f *fixture) tripped(t *testing.T, failures int) {
	t.Helper()
	for range failures {
		f.do(f.request("POST")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
	}
	f.halfOpen(t)
}

func (f *fixture) halfOpen(t *testing.T) {
	t.Helper()
	await(t, f.upstream, 0, "the time of a probe", func(s *tlsclient.EndpointState) bool { return s.Breaker == tlsclient.HalfOpen })
}

func TestConnectionThatDiedIsGivenBackWhileTheRestOfABodyIsAwaited(t *testing.T) {
	f := start(t, resetFirst(1), func(o *tlsclient.Options) { o.MaxConns = 1 })
	d := f.dawdle(t)
	f.server.Wait(t, "the connection to end", func(s tlstest.Stats) bool { return s.Requests == 1 && s.Open == 0 })
	s := await(t, f.upstream, 0, "the exchange to leave", func(s *tlsclient.EndpointState) bool { return s.Pending == 0 })
	if n := f.upstream.State().Open; n != 0 || s.Busy != 0 {
		t.Errorf("%d connections are open, %d busy", n, s.Busy)
	}
	f.do(f.request("POST")).expect(t, 200, "ok")
	a := d.end()
	a.expect(t, 200, "ok")
	if seen := f.server.Requests(); a.Attempts != 2 || string(seen[len(seen)-1].Body) != "helloworld" {
		t.Errorf("%d attempts, the last with %q", a.Attempts, seen[len(seen)-1].Body)
	}
}

func TestProbeWhoseConnectionDiedGivesWayWhileTheRestOfItsBodyIsAwaited(t *testing.T) {
	const failures = 7
	f := start(t, resetFirst(failures+1), func(o *tlsclient.Options) {
		o.Breaker.OpenMin, o.Breaker.OpenMax = 10*time.Millisecond, 10*time.Millisecond
	})
	f.tripped(t, failures)
	d := f.dawdle(t)
	await(t, f.upstream, 0, "the probe to leave", func(s *tlsclient.EndpointState) bool { return s.Probes == 1 && s.Pending == 0 })
	f.halfOpen(t)
	f.do(f.request("POST")).expect(t, 200, "ok")
	d.end().expect(t, 200, "ok")
	if s := f.upstream.State().Endpoints[0]; s.Breaker != tlsclient.Closed || s.Pending != 0 {
		t.Errorf("afterwards it is %+v", s)
	}
}

// The second attempt is not made, so its place in the budget is another's.
func TestRetryIsGivenBackIfTheRestOfABodyDoesNotCome(t *testing.T) {
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		total time.Duration
		end   func(*dawdling)
		is    func(error) bool
	}{
		"its client has gone": {0, func(d *dawdling) { d.client.abandoned.Store(&gone) }, func(err error) bool { return errors.Is(err, gone) }},
		"its time is over": {700 * time.Millisecond, func(*dawdling) {}, func(err error) bool {
			var e *tlsclient.Error
			return errors.As(err, &e) && e.Class == tlsclient.UpstreamTimeout
		}},
		"it breaks off": {0, func(d *dawdling) { d.body.Close() }, func(err error) bool {
			var e *tlsclient.Error
			return errors.As(err, &e) && e.Class == tlsclient.ClientGone
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, resetFirst(2), func(o *tlsclient.Options) {
				o.TotalTimeout, o.Retry.Percent, o.Retry.Min = c.total, 0, 1
			})
			d := f.dawdle(t)
			await(t, f.upstream, 0, "the exchange to leave", func(s *tlsclient.EndpointState) bool { return s.Attempts == 1 && s.Pending == 0 })
			c.end(d)
			if a := <-d.done; !c.is(a.err) || a.Attempts != 1 {
				t.Errorf("got %v after %d attempts", a.err, a.Attempts)
			}
			req := f.request("GET")
			req.Retry = on()
			f.do(req).expect(t, 200, "ok")
			if s := f.upstream.State(); s.Retried[tlsclient.RetryOverBudget] != 0 || s.Retries != 1 {
				t.Errorf("%d retries; %v", s.Retries, s.Retried)
			}
		})
	}
}

// Where all that comes are such requests, nothing else would ever close it.
func TestSlowUploadThatIsAnsweredClosesTheBreaker(t *testing.T) {
	const failures = 7
	f := start(t, resetFirst(failures), func(o *tlsclient.Options) {
		o.Breaker.OpenMin, o.Breaker.OpenMax = 10*time.Millisecond, 10*time.Millisecond
	})
	f.tripped(t, failures)
	first := f.dawdle(t)
	f.server.Wait(t, "the first upload", func(s tlstest.Stats) bool { return s.Requests == failures+1 })
	second, refused := f.tryToDawdle()
	for end := time.Now().Add(10 * time.Second); refused != nil && time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		second, refused = f.tryToDawdle() // until the first has had the time of a probe
	}
	if refused != nil {
		t.Fatal(refused)
	}
	first.end().expect(t, 200, "ok")
	if s := f.upstream.State().Endpoints[0]; s.Breaker != tlsclient.Closed || s.Probes != 2 {
		t.Errorf("after the first upload: %+v", s)
	}
	second.end().expect(t, 200, "ok")
}
