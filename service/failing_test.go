package service_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// answering answers every request with the status that is stored.
func answering(status *atomic.Int64) tlstest.Script {
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if _, err := c.ReadBody(r); err != nil || c.Write(tlstest.Response(int(status.Load()), "")) != nil {
				return
			}
		}
	}
}

// endpoint returns the only endpoint of the only upstream.
func (o *operated) endpoint() api.Endpoint {
	o.tb.Helper()
	list, err := o.admin.Upstreams(o.tb.Context())
	if err != nil {
		o.tb.Fatal(err)
	}
	return list[0].Endpoints[0]
}

// wantMetric fails the test unless the daemon serves this line.
func (o *operated) wantMetric(line string) {
	o.tb.Helper()
	if !strings.Contains("\n"+o.scrape(), "\n"+line+"\n") {
		o.tb.Errorf("the metrics have no %s", line)
	}
}

func TestHealthChecksThatFailAreToldEverywhere(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	var status atomic.Int64
	status.Store(500)
	up := p.upstream(t, answering(&status))
	o := p.operate(t, oneRoute(up.Addr, `health = { path = "/up", interval = "1s", healthy = 1, unhealthy = 1 }`))
	o.await("the endpoint to be ill", func() bool { return o.endpoint().State == api.EndpointIll })
	e := o.endpoint()
	if e.Health == nil || !e.Health.Ill || e.Why != "it fails its health checks; the last: the answer has status 500" {
		t.Errorf("it says %q, and of its checks %+v", e.Why, e.Health)
	}
	h := o.status().Health
	if h.State != api.Degraded || len(h.Reasons) != 1 || !strings.Contains(h.Reasons[0].Message, "none of its endpoints can be used; "+up.Addr+": ill: it fails its health checks") {
		t.Errorf("the status is %+v", h)
	}
	labels := fmt.Sprintf("{upstream=%q,endpoint=%q}", "u", up.Addr)
	o.wantMetric("mtlsproxy_endpoint_up" + labels + " 0")
	o.wantMetric("mtlsproxy_endpoint_ill" + labels + " 1")
	wantStatus(t, o.dial(), "/", 503, "no_endpoint")
	o.await("an event", func() bool {
		return len(o.log.with("event=upstream_down upstream=u endpoint="+up.Addr+" state=ill error=it fails its health checks")) == 1
	})
	status.Store(200)
	o.await("an event of its end", func() bool { return len(o.log.with("event=upstream_up upstream=u endpoint="+up.Addr)) == 1 })
	wantStatus(t, o.dial(), "/", 200, "")
	o.wantMetric("mtlsproxy_endpoint_up" + labels + " 1")
}

func TestABreakerThatOpensIsToldEverywhere(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.CloseBeforeResponse(tlstest.CloseNotify))
	o := p.operate(t, oneRoute(up.Addr, `breaker = { failures = 1, open_min = "20s", open_max = "60s" }`))
	c := o.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	c.final(http.MethodPost)
	e := o.endpoint()
	if e.State != api.EndpointShunned || e.Until == nil || e.Breaker != "open" || e.Opened != 1 || !strings.HasPrefix(e.Why, "upstream_reset: ") {
		t.Errorf("the endpoint is %+v", e)
	}
	o.await("an event", func() bool {
		told := o.log.with("event=upstream_down upstream=u endpoint=" + up.Addr + " state=shunned error=upstream_reset: ")
		return len(told) == 1 && strings.Contains(told[0], " for=")
	})
	labels := fmt.Sprintf("{upstream=%q,endpoint=%q}", "u", up.Addr)
	for _, family := range []string{"breaker_open", "breaker_opened_total"} {
		o.wantMetric("mtlsproxy_" + family + labels + " 1")
	}
	o.wantMetric("mtlsproxy_endpoint_up" + labels + " 0")
	if _, err := o.admin.ResetBreaker(t.Context(), api.Target{Upstream: "u"}); err != nil {
		t.Fatal(err)
	}
	o.await("an event of its end", func() bool {
		told := o.log.with("event=upstream_up upstream=u endpoint=" + up.Addr + " after=")
		return len(told) == 1 && strings.Contains(told[0], " breaker_opened=1")
	})
}

// 192.0.2.0/24 is nobody's, RFC 5737.
func TestASourceThatIsNotThisHostsIsToldEverywhere(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr, `source = "192.0.2.1"`))
	a := wantStatus(t, o.dial(), "/", 502, "connect_failed")
	const why = "this host could not make a connection: cannot assign requested address; see source and LimitNOFILE"
	if !strings.Contains(a.body, why) {
		t.Errorf("the client is told %q, want %q", a.body, why)
	}
	e := o.endpoint()
	if e.State != api.EndpointDown || !strings.Contains(e.Why, "this host could not make a connection") || e.LastError != e.Why || e.LastTime == nil || e.Failures != 0 {
		t.Errorf("the endpoint is %+v", e)
	}
	if h := o.status().Health; h.State != api.Degraded || !strings.Contains(h.Reasons[0].Message, "cannot assign requested address") {
		t.Errorf("the status is %+v", h)
	}
	o.await("an event", func() bool {
		return len(o.log.with("event=upstream_down upstream=u endpoint="+up.Addr+" state=down")) == 1
	})
}

func TestRetriesThatWereNotMadeAreCounted(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, failing(1<<40, 503))
	o := p.operate(t, oneRoute(up.Addr, "retry = { attempts = 2, budget_percent = 0, budget_min = 1 }")+"retry = { statuses = [503] }\n")
	c := o.dial()
	for range 3 {
		c.get("/")
	}
	if l := o.limit("retry.budget"); l.Subject != "upstream u" || l.Rejected != 2 || l.Unit != "retries" {
		t.Errorf("the limit is %+v", l)
	}
	o.wantMetric(`mtlsproxy_upstream_retried_total{upstream="u",result="over_budget"} 2`)
	o.wantMetric(`mtlsproxy_upstream_retried_total{upstream="u",result="answered"} 1`)
	o.wantMetric(`mtlsproxy_limit_rejected_total{limit="retry.budget",subject="upstream u",reason="full"} 2`)
}

func TestFailuresNameRouteUpstreamAndCallerAndWhatWasLeftOut(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr, `breaker.failures = 0`))
	up.Close()
	c := o.dialUnix()
	events := func() []string { return o.log.with("exchange failed event=exchange_failed") }
	suppressed := func() bool {
		c.get("/")
		all := events()
		return strings.Contains(all[len(all)-1], " suppressed=")
	}
	o.await("an event that says how many were left out", suppressed)
	all := events()
	want := fmt.Sprintf(" class=connect_failed fault=upstream route=r upstream=u uid=%d error=", os.Geteuid())
	if len(all) < 10 || !strings.Contains(all[0], want) {
		t.Errorf("%d events, the first %q, want %q", len(all), all[0], want)
	}
}

func TestResponsesThatAreCutNameRouteUpstreamAndCaller(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	begun := make(chan struct{})
	up := p.upstream(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil && c.Write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") == nil {
			<-begun
			c.End(tlstest.CloseNotify)
		}
	})
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dialUnix()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := c.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	close(begun)
	if a := c.final(http.MethodGet); !a.cut {
		t.Errorf("the answer is whole: %+v", a)
	}
	want := fmt.Sprintf(" class=upstream_reset fault=upstream route=r upstream=u uid=%d error=", os.Geteuid())
	o.await("an event", func() bool {
		told := o.log.with("response cut short event=response_cut")
		return len(told) == 1 && strings.Contains(told[0], want)
	})
}

func TestOverloadNamesTheLimit(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, limited(p.upstream(t, w.script).Addr, `in_flight = 1`))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	wantStatus(t, o.dial(), "/", 503, "overloaded")
	w.answer <- tlstest.OK
	c.final(http.MethodGet)
	if told := o.log.with("class=overloaded"); len(told) != 1 || !strings.HasSuffix(told[0], " limit=limit.in_flight") {
		t.Errorf("the events are %q", told)
	}
}

func TestReloadTellsOfOtherContentsOfSecretFiles(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	dir := filepath.Dir(socketPath(t))
	credentials, token := filepath.Join(dir, "credentials"), filepath.Join(dir, "token")
	tlstest.WriteFile(t, credentials, []byte("user:first"), 0o600)
	tlstest.WriteFile(t, token, []byte("the-first-of-two-tokens"), 0o600)
	o := p.operateIn(t, dir, oneRoute(up.Addr, `via = "http://127.0.0.1:9"`, fmt.Sprintf("via_credentials_file = %q", credentials))+
		fmt.Sprintf("[metrics]\naddress = \"127.0.0.1:0\"\ntoken_file = %q\n", token))
	if r := o.reload(); len(r.Changes) != 0 {
		t.Errorf("nothing has changed, but it says %+v", r.Changes)
	}
	tlstest.WriteFile(t, credentials, []byte("user:second"), 0o600)
	tlstest.WriteFile(t, token, []byte("the-second-of-two-tokens"), 0o600)
	r := o.reload()
	var keys []string
	for _, c := range r.Changes {
		keys = append(keys, c.Key)
		if c.Old != "(hidden)" || c.New != "(hidden)" || c.Source == "" || c.Effect == "" {
			t.Errorf("a change is told as %+v", c)
		}
	}
	if got, want := strings.Join(keys, ", "), "upstream.u.via_credentials_file (contents), metrics.token_file (contents)"; got != want {
		t.Errorf("changed are %s, want %s", got, want)
	}
}

func TestAnEndpointBehindAProxyDoesNotHaveItsAddress(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	o := p.operate(t, oneRoute("billing.invalid:443", `via = "http://127.0.0.1:9"`))
	list, err := o.admin.Upstreams(t.Context())
	if err != nil || list[0].Via != "127.0.0.1:9" || len(list[0].Endpoints[0].IPs) != 0 {
		t.Errorf("got %+v, %v", list, err)
	}
}
