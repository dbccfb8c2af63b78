package tlsclient_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// two runs two servers behind one upstream.
func two(t *testing.T, change ...func(*tlsclient.Options)) (*fixture, *tlstest.Server) {
	t.Helper()
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	second := tlstest.NewServer(t, tlstest.ServerOptions{CA: ca, Script: tlstest.Static(tlstest.OK)})
	change = append(change, func(o *tlsclient.Options) { o.Endpoints = append(o.Endpoints, options(second.Addr).Endpoints...) })
	return startServer(t, tlstest.ServerOptions{CA: ca, Script: tlstest.Static(tlstest.OK)}, change...), second
}

func TestDrainedEndpointGetsNoExchange(t *testing.T) {
	f, second := two(t)
	for range 4 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	if got := f.upstream.Drain(second.Addr); len(got) != 1 || got[0] != second.Addr {
		t.Fatalf("drained %v", got)
	}
	before := second.Stats().Requests
	for range 6 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	s := f.upstream.State()
	if second.Stats().Requests != before || !s.Endpoints[1].Drained || s.Endpoints[1].Idle != 0 || s.Closed["drained"] != 1 {
		t.Errorf("%d more requests; %+v", second.Stats().Requests-before, s)
	}
	f.upstream.Resume("")
	for range 4 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	if second.Stats().Requests == before {
		t.Error("no request after the endpoint was resumed")
	}
}

func TestThoseWhoWaitAreToldWhenEveryEndpointIsDrained(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns, o.PoolWait = 1, 20*time.Second })
	first, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	waiting := make(chan *answer)
	go func() { waiting <- f.do(f.request("GET")) }()
	f.upstream.AwaitWaiters(1)
	f.upstream.Drain("")
	(<-waiting).refused(t, tlsclient.NoEndpoint, tlsclient.FaultSelf)
	close(open)
	wait()
	first[0].expect(t, 200, "ok")
}

func TestUpstreamWithEveryEndpointDrainedAnswersAtOnce(t *testing.T) {
	f, _ := two(t)
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.upstream.Drain("")
	f.do(f.request("GET")).refused(t, tlsclient.NoEndpoint, tlsclient.FaultSelf)
}

// Its connection would only serve an endpoint that is to have no more.
func TestConnectionToADrainedEndpointClosesAfterItsExchange(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open))
	answers, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Drain("")
	close(open)
	wait()
	answers[0].expect(t, 200, "ok")
	if s := f.upstream.State(); s.Open != 0 || s.Closed["drained"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDrainNamesNoEndpointThatIsNotThere(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	if got := f.upstream.Drain("elsewhere:1"); len(got) != 0 {
		t.Errorf("drained %v", got)
	}
	f.do(f.request("GET")).expect(t, 200, "ok")
}

func TestResetEndsShunning(t *testing.T) {
	f, _ := two(t, func(o *tlsclient.Options) { o.Endpoints = append(o.Endpoints, options("127.0.0.1:1").Endpoints...) })
	const dead = 1 // the change of two comes after the one of this test
	for range 3 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	s := f.upstream.State().Endpoints[dead]
	if !s.Down || !s.Shunned.After(time.Now()) || s.Failures == 0 || s.LastError == nil || s.LastError.Class != tlsclient.ConnectFailed {
		t.Fatalf("a dead endpoint is %+v", s)
	}
	f.upstream.Reset("127.0.0.1:1")
	if s := f.upstream.State().Endpoints[dead]; s.Down || s.Shunned.After(time.Now()) {
		t.Errorf("%+v after Reset", s)
	}
}

func TestStateCounts(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	for range 3 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	s := f.upstream.State()
	e := s.Endpoints[0]
	if s.Opened != 1 || s.Reused != 2 || s.Open != 1 || s.Idle != 1 || e.Idle != 1 || e.Busy != 0 || e.Attempts != 3 || e.Failures != 0 || e.Pending != 0 {
		t.Errorf("%+v", s)
	}
	if e.Address != f.server.Addr || len(e.IPs) != 1 || s.Generation.Number != 1 {
		t.Errorf("%+v", s)
	}
}

// What a connection is made of stays; how many there are and how long they live
// follows the new options.
func TestTuneKeepsConnections(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns = 3 })
	answers, wait := f.many(3)
	f.server.Wait(t, "three requests", func(s tlstest.Stats) bool { return s.Requests == 3 })
	o := options(f.server.Addr)
	o.MaxConns = 1
	if !f.upstream.Options().Alike(&o) {
		t.Fatal("another bound makes another upstream")
	}
	f.upstream.Tune(o)
	close(open)
	wait()
	for _, a := range answers {
		a.expect(t, 200, "ok")
	}
	if s := f.upstream.State(); s.Open != 1 || s.Idle != 1 || s.Closed["surplus"] != 2 || s.Opened != 3 {
		t.Errorf("%+v", s)
	}
}

func TestTuneLetsWaitersIn(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns = 1 })
	answers, wait := f.many(2)
	f.server.Wait(t, "one request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Tune(options(f.server.Addr))
	f.server.Wait(t, "two requests", func(s tlstest.Stats) bool { return s.Requests == 2 })
	close(open)
	wait()
	for _, a := range answers {
		a.expect(t, 200, "ok")
	}
}

func TestAnotherNameMakesOtherConnections(t *testing.T) {
	a := options("127.0.0.1:1")
	for name, change := range map[string]func(*tlsclient.Options){
		"endpoint":    func(o *tlsclient.Options) { o.Endpoints = options("127.0.0.1:2").Endpoints },
		"server name": func(o *tlsclient.Options) { o.ServerName = "x" },
		"pin":         func(o *tlsclient.Options) { o.Pins = []tlsclient.Pin{{DNS: "x"}} },
		"TLS version": func(o *tlsclient.Options) { o.MinVersion++ },
	} {
		b := options("127.0.0.1:1")
		change(&b)
		if a.Alike(&b) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

func TestResponseTellsOfWaiting(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns = 1 })
	answers, wait := f.many(2)
	f.server.Wait(t, "one request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	for f.upstream.State().Waiting == 0 { // the other one is on its way to the queue
		runtime.Gosched()
	}
	close(open)
	wait()
	var connected, queued int
	for _, a := range answers {
		a.expect(t, 200, "ok")
		if a.Connect > 0 {
			connected++
		}
		if a.Queue > 0 {
			queued++
		}
	}
	if connected != 1 || queued != 1 {
		t.Errorf("%d say that they connected, %d that they waited; want one each", connected, queued)
	}
}
