package tlsclient_test

import (
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func TestNewGenerationIsSeenAtOnce(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	f.do(f.request("GET")).expect(t, 200, "ok")
	for n := uint64(2); n < 5; n++ {
		next := f.generation(t, n)
		f.upstream.Use(next)
		a := f.do(f.request("GET"))
		a.expect(t, 200, "ok")
		seen := f.server.Requests()
		if got := seen[len(seen)-1].Serial; got != next.Serial() || a.Generation.Number != n {
			t.Errorf("the server saw %s and we generation %d, want %s and %d", got, a.Generation.Number, next.Serial(), n)
		}
	}
	f.server.Wait(t, "old connections to close", func(s tlstest.Stats) bool { return s.Open == 1 })
}

// A TLS session of the old certificate must not be resumed: the server would
// still see the old one.
func TestSessionsDoNotOutliveTheirGeneration(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.server.CloseConnections(tlstest.CloseNotify)
	f.do(f.request("GET")).expect(t, 200, "ok")
	if s := f.server.Stats(); s.Resumed != 1 {
		t.Fatalf("%d sessions were resumed within a generation, want 1", s.Resumed)
	}
	f.upstream.Use(f.generation(t, 2))
	f.do(f.request("GET")).expect(t, 200, "ok")
	if s := f.server.Stats(); s.Resumed != 1 {
		t.Error("a session was resumed across generations")
	}
}

func TestBusyConnectionOfAnOldGenerationFinishesItsExchange(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open))
	answers, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Use(f.generation(t, 2))
	close(open)
	wait()
	answers[0].expect(t, 200, "ok")
	f.server.Wait(t, "the old connection to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestExpiredCertificateIsNotShown(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	brief := f.ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(2 * time.Second)})
	f.upstream.Use(load(t, brief.WriteFiles(t, "", f.ca), 2))
	f.do(f.request("GET")).expect(t, 200, "ok")
	<-time.After(time.Until(brief.Leaf.NotAfter) + 10*time.Millisecond)
	f.do(f.request("GET")).refused(t, tlsclient.IdentityExpired, tlsclient.FaultSelf)
	f.server.Wait(t, "its connections to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}
