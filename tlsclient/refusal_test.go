package tlsclient_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// told counts the calls of Options.Rejected.
func told(n *atomic.Int32) func(*tlsclient.Options) {
	return func(o *tlsclient.Options) { o.Rejected = func() { n.Add(1) } }
}

func TestRefusalOfThePresentCertificateIsTold(t *testing.T) {
	for how, name := range map[tlstest.Rejection]string{tlstest.Alert: "alert", tlstest.BadRequest: "400", tlstest.Unauthorized: "401", tlstest.Forbidden: "403"} {
		for _, version := range versions {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				var calls atomic.Int32
				f := startServer(t, tlstest.ServerOptions{Version: version, Script: tlstest.Static(tlstest.OK)}, told(&calls))
				f.do(f.request("POST")).expect(t, 200, "ok")
				if n := calls.Load(); n != 0 {
					t.Fatalf("told %d times of a success", n)
				}
				f.server.Reject(f.upstream.Generation().Serial(), how)
				if how == tlstest.Alert { // it meets new connections
					f.server.CloseConnections(tlstest.CloseNotify)
				}
				a := f.do(f.request("GET"))
				if a.Attempts != 1 {
					t.Errorf("%d attempts though there is no other certificate", a.Attempts)
				}
				switch how {
				case tlstest.Alert:
					a.refused(t, tlsclient.ClientCertRejected, tlsclient.FaultUpstream)
				case tlstest.BadRequest:
					a.expect(t, 400, "")
				case tlstest.Unauthorized:
					a.expect(t, 401, "")
				case tlstest.Forbidden:
					a.expect(t, 403, "")
				}
				if n := calls.Load(); n != 1 {
					t.Errorf("told %d times, want once", n)
				}
			})
		}
	}
}

// The server may be right: there is a newer one.
func TestLateRefusalOfAnOldCertificateIsNoFailureOfTheUpstream(t *testing.T) {
	const exchanges = 8
	refuse := make(chan struct{})
	var old atomic.Pointer[string]
	var refused sync.WaitGroup
	refused.Add(exchanges)
	f := startServer(t, tlstest.ServerOptions{Version: tls.VersionTLS13, Script: tlstest.Static(tlstest.OK), Adjust: func(c *tls.Config) {
		c.VerifyConnection = func(cs tls.ConnectionState) error {
			if cs.PeerCertificates[0].SerialNumber.Text(16) != *old.Load() {
				return nil
			}
			refused.Done()
			<-refuse
			return errors.New("it is an old one")
		}
	}}, func(o *tlsclient.Options) { o.Breaker.Failures = 1 })
	old.Store(new(f.upstream.Generation().Serial()))
	_, wait := f.many(exchanges)
	refused.Wait()
	for end := time.Now().Add(10 * time.Second); f.upstream.State().Opened < exchanges && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	f.upstream.Use(f.generation(t, 2))
	close(refuse)
	wait()
	if s := f.upstream.State().Endpoints[0]; s.Opened > 0 || s.ConsecutiveFailures > 0 {
		t.Errorf("the endpoint is blamed: %+v", s)
	}
	f.do(f.request("POST")).expect(t, 200, "ok")
}

func TestRefusalsAreToldAtMostOnceASecond(t *testing.T) {
	var calls atomic.Int32
	f := start(t, tlstest.Static(tlstest.Response(403, "")), told(&calls))
	f.do(f.request("GET")).expect(t, 403, "")
	for want := range int32(3) {
		if n := calls.Load(); n != want+1 {
			t.Fatalf("told %d times, want %d", n, want+1)
		}
		f.upstream.ForgetRejected()
		f.do(f.request("GET")).expect(t, 403, "")
		f.do(f.request("GET")).expect(t, 403, "")
	}
}

// A server that refuses the old certificate is right, and nothing of it is used again.
func TestRefusalOfAnOldCertificateIsNotTold(t *testing.T) {
	var calls atomic.Int32
	open := make(chan struct{})
	var first string
	f := start(t, func(c *tlstest.Conn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			<-open
			response := tlstest.OK
			if c.Serial() == first {
				response = tlstest.Response(403, "")
			}
			if c.Write(response) != nil {
				return
			}
		}
	}, told(&calls))
	first = f.upstream.Generation().Serial()
	answers, wait := f.many(3)
	f.server.Wait(t, "three requests", func(s tlstest.Stats) bool { return s.Requests == 3 })
	f.upstream.Use(f.generation(t, 2))
	close(open)
	wait()
	for _, a := range answers {
		a.expect(t, 403, "")
	}
	for range 3 {
		f.do(f.request("GET")).expect(t, 200, "ok")
	}
	if calls.Load() != 0 || f.server.Uses()[first].Requests != 3 {
		t.Errorf("told %d times; the server saw %+v", calls.Load(), f.server.Uses())
	}
	f.server.Wait(t, "the old connections to close", func(s tlstest.Stats) bool { return s.Open == 1 })
}

// waiting is a client that says when it is asked whether it waits for an answer.
type waiting struct {
	client
	once  sync.Once
	asked chan struct{}
}

func (w *waiting) Abandoned() error {
	w.once.Do(func() { close(w.asked) })
	return nil
}

// verdict makes a server's first handshake wait for leave to look at the certificate.
func verdict(reached, leave chan struct{}) func(*tls.Config) {
	var once sync.Once
	return func(c *tls.Config) {
		verify := c.VerifyConnection
		c.VerifyConnection = func(cs tls.ConnectionState) error {
			once.Do(func() {
				close(reached)
				<-leave
			})
			return verify(cs)
		}
	}
}

// Under TLS 1.3 the handshake is over, and the request written, when the refusal comes:
// what may be repeated is, with the generation that has taken over meanwhile.
func TestRefusalAfterASwap(t *testing.T) {
	for _, c := range []struct {
		version  uint16
		method   string
		attempts int // 0: it is not answered
	}{
		{tls.VersionTLS12, "GET", 1}, {tls.VersionTLS12, "POST", 1}, // nothing was written yet
		{tls.VersionTLS13, "GET", 2}, {tls.VersionTLS13, "POST", 0},
	} {
		t.Run(fmt.Sprintf("%s %s", c.method, tls.VersionName(c.version)), func(t *testing.T) {
			var calls atomic.Int32
			reached, leave := make(chan struct{}), make(chan struct{})
			f := startServer(t, tlstest.ServerOptions{
				Version: c.version, Script: tlstest.Static(tlstest.OK), Adjust: verdict(reached, leave),
			}, told(&calls))
			w := &waiting{asked: make(chan struct{})}
			req := f.request(c.method)
			req.Client = w
			done := make(chan *answer)
			go func() { done <- f.do(req) }()
			<-reached
			<-w.asked // it waits: for the handshake, or for the answer
			old, next := f.upstream.Generation(), f.generation(t, 2)
			f.server.Reject(old.Serial(), tlstest.Alert)
			f.upstream.Use(next)
			close(leave)
			a := <-done
			if c.attempts == 0 {
				a.refused(t, tlsclient.ClientCertRejected, tlsclient.FaultUpstream)
			} else {
				a.expect(t, 200, "ok")
			}
			if c.attempts > 0 && (a.Attempts != c.attempts || a.Generation != next) {
				t.Errorf("%d attempts, want %d; the last with generation %d", a.Attempts, c.attempts, a.Generation.Number)
			}
			f.do(f.request("POST")).expect(t, 200, "ok")
			if n := f.server.Uses()[old.Serial()].Requests; n != 0 {
				t.Errorf("the server was asked %d times with the old certificate", n)
			}
			if s := f.upstream.State(); calls.Load() != 0 || s.Endpoints[0].Failures != 0 || s.Endpoints[0].Down {
				t.Errorf("an old certificate was refused: told %d times, %+v", calls.Load(), s.Endpoints[0])
			}
		})
	}
}

func TestUpstreamWithoutAGenerationSaysWhy(t *testing.T) {
	u := tlsclient.NewUpstream(options("127.0.0.1:1"))
	defer u.Close()
	f := &fixture{upstream: u}
	a := f.do(f.request("GET"))
	a.refused(t, tlsclient.IdentityUnavailable, tlsclient.FaultSelf)
	a.says(t, `upstream "test"`)
	for _, class := range []tlsclient.Class{tlsclient.IdentityExpired, tlsclient.IdentityUnavailable} {
		u.Lack(class, fmt.Errorf("identity %q: put a new file in its place", "default"))
		a := f.do(f.request("GET"))
		a.refused(t, class, tlsclient.FaultSelf)
		a.says(t, `upstream "test"`, `identity "default"`, "put a new file in its place")
	}
}

func TestUpstreamThatGotItsGenerationAnswers(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK))
	u := tlsclient.NewUpstream(options(f.server.Addr))
	t.Cleanup(u.Close)
	u.Lack(tlsclient.IdentityExpired, fmt.Errorf("it was"))
	u.Use(f.generation(t, 1))
	u.Lack(tlsclient.IdentityExpired, fmt.Errorf("it comes too late"))
	(&fixture{upstream: u}).do(f.request("GET")).expect(t, 200, "ok")
}

func TestRefusalsOfEveryRequestSinceTheGenerationBeganAreCounted(t *testing.T) {
	for _, status := range []int{400, 401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var suspected []*tlsclient.Generation
			f := start(t, tlstest.Static(tlstest.Response(status, "")), func(o *tlsclient.Options) {
				o.Suspected = func(g *tlsclient.Generation, answers int) {
					if answers != 5 {
						t.Errorf("told of %d answers", answers)
					}
					suspected = append(suspected, g)
				}
			})
			for n := range 7 {
				if s := f.upstream.State().Generations[0]; s.Refused != uint64(n) || s.Suspicious() != (n >= 5) || len(suspected) != n/5 {
					t.Fatalf("after %d answers: %+v, told %d times", n, s, len(suspected))
				}
				f.do(f.request("GET")).expect(t, status, "")
			}
			next := f.generation(t, 2)
			f.upstream.Use(next)
			if s := f.upstream.State().Generations[0]; s.Generation != next || s.Refused != 0 {
				t.Errorf("the next generation begins with %+v", s)
			}
		})
	}
}

// An application may refuse what it is asked for as long as it likes.
func TestOneOtherAnswerShowsThatTheCertificateIsTaken(t *testing.T) {
	refusal := tlstest.Response(403, "")
	script := []string{refusal, refusal, refusal, refusal, tlstest.Response(404, "")}
	for range 6 {
		script = append(script, refusal)
	}
	f := start(t, tlstest.PerRequest(tlstest.CloseNotify, script...), func(o *tlsclient.Options) {
		o.Suspected = func(*tlsclient.Generation, int) { t.Error("the certificate is suspected") }
	})
	for range script {
		if a := f.do(f.request("GET")); a.err != nil {
			t.Fatal(a.err)
		}
	}
	if s := f.upstream.State().Generations[0]; s.Refused != 0 || s.Suspicious() {
		t.Errorf("%+v", s)
	}
}
