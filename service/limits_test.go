package service_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// limited is oneRoute with limits of the route.
func limited(address, limit string) string { return oneRoute(address) + "limit = { " + limit + " }\n" }

// limit returns one of the limits that the daemon tells of.
func (o *operated) limit(name string) api.Limit {
	o.tb.Helper()
	list, err := o.admin.Limits(o.tb.Context())
	if err != nil {
		o.tb.Fatal(err)
	}
	for _, l := range list {
		if l.Name == name {
			return l
		}
	}
	o.tb.Fatalf("there is no limit %s in %+v", name, list)
	return api.Limit{}
}

// wantStatus sends a GET and compares status and class of the answer.
func wantStatus(t *testing.T, c *client, path string, status int, class string, fields ...string) *answer {
	t.Helper()
	a := c.get(path, fields...)
	if a.status != status || a.class() != class {
		t.Errorf("GET %s %v: got %d, class %q, want %d, class %q", path, fields, a.status, a.class(), status, class)
	}
	return a
}

func TestRequestsAboveTheRateAreToldWhenToComeBack(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, limited(up.Addr, `rate = "2/h", burst = 2`))
	c := o.dial()
	wantStatus(t, c, "/", 200, "")
	wantStatus(t, o.dialUnix(), "/", 200, "") // the rate is the route's
	a := wantStatus(t, c, "/", 429, "rate_limited")
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || after < 1700 || after > 1800 {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	if policy, limit := a.header.Get("RateLimit-Policy"), a.header.Get("RateLimit"); policy != `"r";q=2;w=3600` || limit != fmt.Sprintf(`"r";r=0;t=%d`, after) {
		t.Errorf("RateLimit-Policy is %s, RateLimit %s", policy, limit)
	}
	if a.close {
		t.Error("the connection was closed")
	}
	l := o.limit("limit.rate")
	if l.Subject != "route r" || l.Capacity != 2 || l.Used != 2 || l.Rejected != 1 || l.RejectedBy["rate"] != 1 {
		t.Errorf("the limit is %+v", l)
	}
	if want := `mtlsproxy_limit_rejected_total{limit="limit.rate",subject="route r",reason="rate"} 1`; !strings.Contains(o.scrape(), want) {
		t.Errorf("the metrics have no %s", want)
	}
	if n := up.Stats().Requests; n != 2 {
		t.Errorf("the upstream got %d requests, want 2", n)
	}
}

func TestRateIsOfWhatItIsPer(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	for per, wants := range map[string][3]int{ // another listener, another tenant, nothing else
		"route":           {429, 429, 429},
		"caller":          {429, 429, 429},
		"listener":        {200, 429, 429},
		"header:X-Tenant": {429, 200, 429},
	} {
		t.Run(per, func(t *testing.T) {
			d := p.daemon(t, up, "route.default.limit.rate=1/h", "route.default.limit.per="+per, `listener.other.address=["127.0.0.1:0"]`)
			wantClass := map[int]string{429: "rate_limited"}
			wantStatus(t, d.dial(), "/", 200, "")
			wantStatus(t, d.dialTo("tcp", d.service.Addresses()[2].String()), "/", wants[0], wantClass[wants[0]])
			wantStatus(t, d.dial(), "/", wants[1], wantClass[wants[1]], "x-tenant: blue")
			wantStatus(t, d.dial(), "/", wants[2], wantClass[wants[2]])
		})
	}
}

func TestExchangesBeyondInFlightWaitInTheQueue(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	o := p.operate(t, limited(up.Addr, `in_flight = 1, queue = 1, queue_timeout = "1m"`))
	first, second := o.dial(), o.dialUnix()
	first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	o.await("the second to wait", func() bool { return o.limit("limit.in_flight").Waiting == 1 })
	a := wantStatus(t, o.dial(), "/", 503, "overloaded")
	if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "limit.queue") {
		t.Errorf("got %+v", a)
	}
	in, queue := o.limit("limit.in_flight"), o.limit("limit.queue")
	if in.Capacity != 1 || in.Used != 1 || queue.Capacity != 1 || queue.Used != 1 || queue.RejectedBy["queue_full"] != 1 {
		t.Errorf("in flight %+v, queue %+v", in, queue)
	}
	for _, c := range []*client{first, second} {
		w.answer <- tlstest.OK
		if a := c.final("GET"); a.status != 200 {
			t.Errorf("got %d, class %q", a.status, a.class())
		}
	}
	if r := o.recorded(3); r[1].Queue+r[2].Queue == 0 {
		t.Errorf("no record has the time in the queue: %+v", r)
	}
	o.await("the place to be given back", func() bool { return o.limit("limit.in_flight").Used == 0 })
}

func TestWaitInTheQueueHasItsTime(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, limited(p.upstream(t, w.script).Addr, `in_flight = 1, queue = 1, queue_timeout = "200ms"`))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	start := time.Now()
	wantStatus(t, o.dial(), "/", 503, "overloaded")
	took(t, start)
	if l := o.limit("limit.queue"); l.RejectedBy["timeout"] != 1 {
		t.Errorf("the queue is %+v", l)
	}
	w.answer <- tlstest.OK
	c.final("GET")
}

func TestWhoLeavesTheQueueGivesUpItsTurn(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, limited(p.upstream(t, w.script).Addr, `in_flight = 1, queue = 1, queue_timeout = "1m"`))
	c, gone := o.dial(), o.dialUnix()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	gone.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	o.await("the other to wait", func() bool { return o.limit("limit.in_flight").Waiting == 1 })
	gone.close()
	o.await("its place to be free", func() bool { return o.limit("limit.in_flight").Waiting == 0 })
	w.answer <- tlstest.OK
	c.final("GET")
}

func TestCallerHoldsSoManyExchanges(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, limited(p.upstream(t, w.script).Addr, `per_caller = 1`))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	wantStatus(t, o.dialUnix(), "/", 503, "overloaded")
	if l := o.limit("limit.per_caller"); l.Capacity != 1 || l.Used != 1 || l.RejectedBy["caller"] != 1 {
		t.Errorf("the limit is %+v", l)
	}
	if r := o.recorded(1)[0]; r.Class != "overloaded" || r.Fault != "client" {
		t.Errorf("the record is %+v", r)
	}
	w.answer <- tlstest.OK
	c.final("GET")
}

func TestLimitsAreResizedInPlace(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	addr := p.upstream(t, w.script).Addr
	o := p.operate(t, limited(addr, `in_flight = 1, queue = 2, queue_timeout = "1m", rate = "4/h", burst = 4`))
	clients := []*client{o.dial(), o.dial(), o.dial()}
	for i, c := range clients {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if i == 0 {
			w.next(t)
		}
		o.await("it to wait", func() bool { return o.limit("limit.in_flight").Waiting == int64(i) })
	}
	o.write(t, p, limited(addr, `in_flight = 2, queue = 2, queue_timeout = "1m", rate = "4/h", burst = 4`))
	o.reload()
	w.next(t) // there is room for one of those that waited under the old configuration
	if l := o.limit("limit.in_flight"); l.Capacity != 2 || l.Used != 2 || l.Waiting != 1 {
		t.Errorf("the limit is %+v", l)
	}
	for range clients {
		w.answer <- tlstest.OK
	}
	for _, c := range clients {
		c.final("GET")
	}
	last := o.dial()
	last.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	w.answer <- tlstest.OK
	last.final("GET")
	wantStatus(t, last, "/", 429, "rate_limited") // what was spent before the reload stays spent
}

func TestBodyLargerThanTheRouteTakesIsRefused(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, headAware)
	o := p.operate(t, limited(up.Addr, `body = 10`))
	f := func(name, request string, status int) {
		t.Helper()
		before := up.Stats().Requests
		c := o.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + request)
		a := c.final(http.MethodPost)
		class := map[int]string{413: "too_large"}[status]
		if a.status != status || a.class() != class || status == 413 && (!a.close || up.Stats().Requests != before) {
			t.Errorf("%s: got %d, class %q, close %v, want %d", name, a.status, a.class(), a.close, status)
		}
	}
	f("as much as fits", "Content-Length: 10\r\n\r\n0123456789", 200)
	f("too much, before it comes", "Content-Length: 11\r\n\r\n", 413)
	f("too much, asked about", "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n", 413)
	f("chunks that fit", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", 200)
	f("chunks that do not fit", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n", 413)
	if l := o.limit("limit.body"); l.Capacity != 10 || l.Rejected != 3 {
		t.Errorf("the limit is %+v", l)
	}
}

// The upstream has got the first chunks by then. It must not take them for the whole.
func TestChunkedBodyThatGrowsTooLargeIsCut(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	whole := make(chan error, 1)
	up := p.upstream(t, func(c *tlstest.Conn) {
		if r, err := c.ReadRequest(); err == nil {
			_, err = c.ReadBody(r)
			whole <- err
		}
	})
	o := p.operate(t, limited(up.Addr, `body = 10`))
	c := o.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
	up.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	c.send("6\r\n567890\r\n")
	if a := c.final(http.MethodPost); a.status != 413 || a.class() != "too_large" || !a.close {
		t.Errorf("got %d, class %q, close %v", a.status, a.class(), a.close)
	}
	if err := <-whole; err == nil {
		t.Error("the upstream took the body for whole")
	}
	if r := o.recorded(1)[0]; r.Fault != "client" || o.limit("limit.body").Rejected != 1 {
		t.Errorf("the record is %+v", r)
	}
}

func TestConnectionsOfClientsAreBounded(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr)+"[limits]\nconnections = 2\n")
	first, second := o.dial(), o.dialUnix()
	wantStatus(t, first, "/", 200, "")
	wantStatus(t, second, "/", 200, "")
	third := o.dial()
	a := wantStatus(t, third, "/", 503, "overloaded")
	if !a.close || a.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", a)
	}
	third.ended()
	if l := o.limit("limits.connections"); l.Capacity != 2 || l.Used != 2 || l.RejectedBy["full"] != 1 {
		t.Errorf("the limit is %+v", l)
	}
	second.close()
	o.await("its seat to be free", func() bool { return o.limit("limits.connections").Used == 1 })
	wantStatus(t, o.dial(), "/", 200, "")
	wantStatus(t, first, "/", 200, "")
}

func TestConnectionsOfOneCallerAreBounded(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr)+"[limits]\nconnections_per_caller = 2\n")
	o.dial() // it says nothing, and counts
	o.await("it to count", func() bool { return o.limit("limits.connections_per_caller").Used == 1 })
	second := o.dialUnix()
	wantStatus(t, second, "/", 200, "")
	wantStatus(t, o.dial(), "/", 503, "overloaded")
	wantStatus(t, second, "/", 200, "")
	if l := o.limit("limits.connections_per_caller"); l.Capacity != 2 || l.Used != 2 || l.RejectedBy["caller"] != 1 {
		t.Errorf("the limit is %+v", l)
	}
}

func TestCallerThatHoldsAllConnectionsDoesNotKeepAnotherOut(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr)+"[limits]\nconnections = 20\nconnections_per_caller = 2\n")
	for range 20 {
		o.dial().send("G") // and no more of the head
	}
	o.await("all but two to be refused", func() bool {
		return o.limit("limits.connections_per_caller").RejectedBy["caller"] == 18 && o.limit("limits.connections").Used == 2
	})
	if got := askAs(t, &syscall.Credential{Uid: nobody, Gid: nobody}, "tcp", o.tcp); got != "200 " {
		t.Errorf("another caller gets %q", got)
	}
	if l := o.limit("limits.connections"); l.RejectedBy["full"] != 0 {
		t.Errorf("the limit is %+v", l)
	}
}

func TestMemoryOfExchangesIsBounded(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, oneRoute(p.upstream(t, w.script).Addr)+"[limits]\nmemory = \"1MiB\"\n")
	const fit = 1 << 20 / (64 << 10)
	var under []*client
	for range fit {
		c := o.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		w.next(t)
		under = append(under, c)
	}
	wantStatus(t, o.dial(), "/", 503, "overloaded")
	if l := o.limit("limits.memory"); l.Capacity != 1<<20 || l.Used != fit*64<<10 || l.RejectedBy["full"] != 1 {
		t.Errorf("the limit is %+v", l)
	}
	for range under {
		w.answer <- tlstest.OK // to any of them
	}
	for _, c := range under {
		if a := c.final("GET"); a.status != 200 {
			t.Errorf("got %d", a.status)
		}
	}
	o.await("the memory to be given back", func() bool { return o.limit("limits.memory").Used == 0 })
}

func TestLimitThatIsTakenAwayAndPutBackKnowsWhoIsInside(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	addr := p.upstream(t, w.script).Addr
	o := p.operate(t, limited(addr, "in_flight = 1"))
	under := o.dial()
	under.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	for _, limit := range []string{"", "in_flight = 1"} {
		o.write(t, p, limited(addr, limit))
		o.reload()
	}
	wantStatus(t, o.dial(), "/", 503, "overloaded")
	w.answer <- tlstest.OK
	under.final("GET")
}

func TestRequestsWithTooLargeHeadsAreCounted(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	o := p.operate(t, oneRoute(p.upstream(t, tlstest.Static(tlstest.OK)).Addr)+"[limits]\nheader_bytes = \"8KiB\"\nheader_fields = 10\n")
	wantStatus(t, o.dial(), "/", 431, "bad_request", "X: "+strings.Repeat("x", 9000))
	wantStatus(t, o.dial(), "/", 431, "bad_request", slices.Repeat([]string{"X: x"}, 11)...)
	wantStatus(t, o.dial(), "/"+strings.Repeat("x", 9000), 414, "bad_request")
	for _, name := range []string{"limits.header_bytes", "limits.header_fields", "limits.target_bytes"} {
		if l := o.limit(name); l.Rejected != 1 || l.RejectedBy["too_large"] != 1 || l.Capacity == 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// A client that asks again as soon as it is answered is never in its own way.
func TestClientThatWaitsForItsAnswersIsOneAtATime(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for name, body := range map[string]string{"nothing": "", "a little": "ok", "more than a buffer": strings.Repeat("x", 50_000)} {
		t.Run(name, func(t *testing.T) {
			up := p.upstream(t, tlstest.Static(tlstest.Response(200, body)))
			o := p.operate(t, limited(up.Addr, "in_flight = 1, per_caller = 1"))
			connections := [2]*client{o.dialUnix(), o.dialUnix()}
			for i := range 3000 {
				if a := connections[i%2].get("/"); a.status != 200 {
					t.Fatalf("got %d, class %q, for request %d", a.status, a.class(), i)
				}
			}
		})
	}
}

// A client that sends a small body slowly holds nothing that others want meanwhile.
func TestSlowUploadsTakeNoConnectionFromOthers(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Echo())
	o := p.operate(t, strings.Replace(limited(up.Addr, "in_flight = 2"), "[[route]]", "pool = { max = 1 }\n[[route]]", 1))
	var slow []*client
	for range 8 {
		c := o.dial()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh")
		slow = append(slow, c)
	}
	o.await("all to be there", func() bool { return o.limit("limits.memory").Used >= 8*16<<10 })
	for range 20 {
		wantStatus(t, o.dial(), "/", 200, "")
	}
	if n := up.Stats().Requests; n != 20 {
		t.Errorf("the upstream saw %d requests, want 20", n)
	}
	for _, c := range slow {
		c.send("ello")
		if a := c.final("POST"); a.status != 200 {
			t.Errorf("got %d, class %q", a.status, a.class())
		}
	}
}

func TestClientThatLeavesAmidASmallBodyIsNotTheUpstreams(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Echo())
	o := p.operate(t, oneRoute(up.Addr)+"[limits]\nbody_idle_timeout = \"50ms\"\n")
	gone, silent := o.dial(), o.dial()
	gone.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh")
	gone.conn.Close()
	silent.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh")
	if a := silent.final("POST"); a.status != 408 || a.class() != "bad_request" {
		t.Errorf("got %d, class %q", a.status, a.class())
	}
	o.await("both to end", func() bool { return o.limit("limits.memory").Used == 0 })
	if n := up.Stats().Accepted; n > 0 {
		t.Errorf("%d connections were made for them", n)
	}
}

// What is turned away at the gate has not been taken, and the rate is of what is.
func TestRequestThatFindsNoPlaceSpendsNothingOfTheRate(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, limited(p.upstream(t, w.script).Addr, `in_flight = 1, rate = "2/h", burst = 2`))
	under := o.dial()
	under.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	for range 5 {
		wantStatus(t, o.dial(), "/", 503, "overloaded")
	}
	w.answer <- tlstest.OK
	under.final("GET")
	under.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	w.answer <- tlstest.OK
	under.final("GET")
	wantStatus(t, o.dial(), "/", 429, "rate_limited")
}

func TestWaitInTheQueueEndsWithTheTimeOfTheExchange(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, strings.Replace(limited(p.upstream(t, w.script).Addr, `in_flight = 1, queue = 5, queue_timeout = "5m"`), "[[route]]", "timeout = { total = \"300ms\" }\n[[route]]", 1))
	tunnel := o.dial()
	tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	w.next(t)
	w.answer <- "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	tunnel.next("GET")
	begun := time.Now()
	wantStatus(t, o.dial(), "/", 503, "overloaded")
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("it was told after %v", d)
	}
}
