package tlsclient_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// checked makes the upstream check its endpoints often.
func checked(o *tlsclient.Options) {
	o.Health = tlsclient.HealthOptions{Path: "/healthz?x", Interval: 10 * time.Millisecond, Timeout: 2 * time.Second, Healthy: 2, Unhealthy: 3}
}

// patientOf answers checks with the status that is set, and everything else with OK.
func patientOf(status *atomic.Int32) tlstest.Script {
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			response := tlstest.OK
			if r.URL.Path == "/healthz" {
				response = tlstest.Response(int(status.Load()), "well")
			}
			if c.Write(response) != nil {
				return
			}
		}
	}
}

// await returns once the endpoint's state satisfies the condition.
func await(t *testing.T, u *tlsclient.Upstream, i int, what string, ok func(*tlsclient.EndpointState) bool) tlsclient.EndpointState {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-tick.C {
		if s := u.State().Endpoints[i]; ok(&s) {
			return s
		}
	}
	t.Fatalf("waiting for %s: %+v", what, u.State().Endpoints[i])
	return tlsclient.EndpointState{}
}

func TestIllEndpointIsNotUsedUntilItIsWell(t *testing.T) {
	var status atomic.Int32
	status.Store(200)
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	second := tlstest.NewServer(t, tlstest.ServerOptions{CA: ca, Script: patientOf(&status)})
	f := startServer(t, tlstest.ServerOptions{CA: ca, Script: tlstest.Static(tlstest.OK)}, checked, func(o *tlsclient.Options) {
		o.Endpoints = append(o.Endpoints, options(second.Addr).Endpoints...)
	})
	await(t, f.upstream, 1, "a check", func(s *tlsclient.EndpointState) bool { return s.Health.Passed > 2 })
	status.Store(500)
	s := await(t, f.upstream, 1, "illness", func(s *tlsclient.EndpointState) bool { return s.Health.Ill })
	if s.Health.Failed < 3 || s.Health.Last == nil || !strings.Contains(s.Health.Last.Error(), "500") || !s.Ejected || s.Failures > 0 || s.Breaker != tlsclient.Closed {
		t.Errorf("an ill endpoint is %+v", s)
	}
	for range 10 {
		if a := f.do(f.request("GET")); a.Endpoint != f.server.Addr {
			t.Fatalf("the exchange went to %s: %v", a.Endpoint, a.err)
		}
	}
	status.Store(204)
	s = await(t, f.upstream, 1, "health", func(s *tlsclient.EndpointState) bool { return !s.Health.Ill })
	if s.Share >= 1 || s.Ejected {
		t.Errorf("it gets everything at once: %+v", s)
	}
}

func TestUpstreamWhoseEndpointsAreIllAnswersAtOnce(t *testing.T) {
	var status atomic.Int32
	status.Store(404)
	f := start(t, patientOf(&status), checked)
	await(t, f.upstream, 0, "illness", func(s *tlsclient.EndpointState) bool { return s.Health.Ill })
	a := f.do(f.request("GET"))
	a.refused(t, tlsclient.NoEndpoint, tlsclient.FaultUpstream)
	if !strings.Contains(a.err.Error(), "404") {
		t.Errorf("%v does not say why", a.err)
	}
	f.upstream.Reset("")
	f.do(f.request("GET")).expect(t, 200, "ok")
}

func TestCheckThatIsNotAnsweredIsBad(t *testing.T) {
	for name, script := range map[string]tlstest.Script{
		"silence": tlstest.NeverAnswer(),
		"an endless one": func(c *tlstest.Conn) {
			tlstest.Slow(time.Millisecond, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 1<<16))(c)
		},
		"a cut one": tlstest.TruncateBody(10, tlstest.TCPClose),
		"none":      tlstest.CloseAtOnce(tlstest.Reset),
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, script, checked, func(o *tlsclient.Options) { o.Health.Timeout = 100 * time.Millisecond })
			await(t, f.upstream, 0, "illness", func(s *tlsclient.EndpointState) bool { return s.Health.Ill })
		})
	}
}

// It is not the answer's length that is checked.
func TestCheckReadsNoMoreThanItNeeds(t *testing.T) {
	f := start(t, tlstest.Static(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<30, strings.Repeat("x", 80<<10))), checked)
	await(t, f.upstream, 0, "checks", func(s *tlsclient.EndpointState) bool { return s.Health.Passed > 2 && !s.Health.Ill })
}

func TestCheckIsARequestOfItsOwn(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), checked)
	await(t, f.upstream, 0, "checks", func(s *tlsclient.EndpointState) bool { return s.Health.Passed > 2 })
	s := f.upstream.State()
	if s.Opened != 0 || s.Open != 0 || s.Endpoints[0].Attempts != 0 || s.Endpoints[0].Pending != 0 {
		t.Errorf("checks are counted with exchanges: %+v", s)
	}
	want := "GET /healthz?x HTTP/1.1\r\nHost: " + f.server.Addr + "\r\nUser-Agent: mtlsproxy-health\r\nConnection: close\r\n\r\n"
	if got := string(f.server.Requests()[0].Head); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := f.server.Stats(); s.Open > 1 {
		t.Errorf("%d checks at the same time", s.Open)
	}
}

func TestChecksBeginAndEndWithTheirOptions(t *testing.T) {
	var status atomic.Int32
	status.Store(500)
	f := start(t, patientOf(&status))
	with := options(f.server.Addr)
	without := with
	checked(&with)
	f.upstream.Tune(with)
	await(t, f.upstream, 0, "illness", func(s *tlsclient.EndpointState) bool { return s.Health.Ill })
	f.upstream.Tune(without)
	s := await(t, f.upstream, 0, "the end of checks", func(s *tlsclient.EndpointState) bool { return !s.Health.Checked })
	if s.Health.Ill || s.Ejected {
		t.Errorf("%+v", s)
	}
	f.upstream.Tune(with)
	await(t, f.upstream, 0, "illness", func(s *tlsclient.EndpointState) bool { return s.Health.Ill })
}

func TestCloseEndsACheck(t *testing.T) {
	f := start(t, tlstest.NeverAnswer(), checked, func(o *tlsclient.Options) { o.Health.Timeout = time.Minute })
	f.server.Wait(t, "a check", func(s tlstest.Stats) bool { return s.Requests > 0 })
	begin := time.Now()
	f.upstream.Close()
	if d := time.Since(begin); d > time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestShorterIntervalHoldsAfterTheCheckThatIsUnderWay(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open))
	often := options(f.server.Addr)
	checked(&often)
	seldom := often
	seldom.Health.Interval, seldom.Health.Timeout = time.Hour, time.Minute
	f.upstream.Tune(seldom)
	f.server.Wait(t, "a check", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Tune(often)
	close(open)
	await(t, f.upstream, 0, "more checks", func(s *tlsclient.EndpointState) bool { return s.Health.Passed > 3 })
}

func TestShorterIntervalOfChecksHoldsAtOnce(t *testing.T) {
	var status atomic.Int32
	status.Store(200)
	f := start(t, patientOf(&status))
	often := options(f.server.Addr)
	checked(&often)
	seldom := often
	seldom.Health.Interval = time.Hour
	f.upstream.Tune(seldom)
	await(t, f.upstream, 0, "the first check", func(s *tlsclient.EndpointState) bool { return s.Health.Passed == 1 })
	f.upstream.Tune(often)
	await(t, f.upstream, 0, "more checks", func(s *tlsclient.EndpointState) bool { return s.Health.Passed > 3 })
}
