package tlsclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// behind runs one exchange beside the test.
func (f *fixture) behind(method string) <-chan *answer {
	done := make(chan *answer, 1)
	go func() { done <- f.do(f.request(method)) }()
	return done
}

// says fails the test unless the error of a has all the words.
func (a *answer) says(t testing.TB, words ...string) {
	t.Helper()
	for _, w := range words {
		if a.err == nil || !strings.Contains(a.err.Error(), w) {
			t.Errorf("%v does not say %q", a.err, w)
		}
	}
}

// upgrade makes a tunnel of one exchange.
func (f *fixture) upgrade(t testing.TB) *tlsclient.Tunnel {
	t.Helper()
	req := f.request("GET")
	req.WebSocket = true
	a := new(answer)
	if err := f.upstream.Do(req, &a.Response); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a.Tunnel()
}

// mixed answers upgrades with a tunnel that echoes, and everything else once it is let
// through.
func mixed(open <-chan struct{}) tlstest.Script {
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if r.Header.Get("Upgrade") != "" {
				if c.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") == nil {
					io.Copy(c.TLS, c.R)
				}
				return
			}
			select {
			case <-open:
			case <-c.Stopping():
				return
			}
			if c.Write(tlstest.OK) != nil {
				return
			}
		}
	}
}

// closed is an open gate.
func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestBusyConnectionOfAnOldGenerationIsCutAtTheRetireDeadline(t *testing.T) {
	f := start(t, tlstest.NeverAnswer(), func(o *tlsclient.Options) { o.RetireTimeout = 50 * time.Millisecond })
	done := f.behind("POST")
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Use(f.generation(t, 2))
	a := <-done
	a.refused(t, tlsclient.Draining, tlsclient.FaultSelf)
	a.says(t, "generation 1", `identity "default"`, "replaced 50ms ago", "pool.retire_timeout", f.server.Addr)
	s := f.upstream.State()
	if s.Closed["retired"] != 1 || s.Open != 0 || s.Endpoints[0].Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRetireTimeoutOfZeroCutsAtOnce(t *testing.T) {
	f := start(t, tlstest.NeverAnswer(), func(o *tlsclient.Options) { o.RetireTimeout = 0 })
	done := f.behind("POST")
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Use(f.generation(t, 2))
	(<-done).refused(t, tlsclient.Draining, tlsclient.FaultSelf)
}

// It was our doing that there is no answer, so the upstream is asked once more.
func TestIdempotentRequestIsRepeatedAfterItsConnectionWasCut(t *testing.T) {
	f := start(t, tlstest.PerConnection(tlstest.NeverAnswer(), tlstest.Static(tlstest.OK)),
		func(o *tlsclient.Options) { o.RetireTimeout = 0 })
	done := f.behind("GET")
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	next := f.generation(t, 2)
	f.upstream.Use(next)
	a := <-done
	a.expect(t, 200, "ok")
	if a.Attempts != 2 || a.Generation != next {
		t.Errorf("%d attempts, the last with generation %d", a.Attempts, a.Generation.Number)
	}
}

func TestRequestIsNotRepeatedAfterAPartOfItsAnswerWasCut(t *testing.T) {
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil && c.Write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") == nil {
			c.WaitClosed()
		}
	}, func(o *tlsclient.Options) { o.RetireTimeout = 0 })
	a := new(answer)
	defer a.Close()
	if err := f.upstream.Do(f.request("GET"), &a.Response); err != nil {
		t.Fatal(err)
	}
	f.upstream.Use(f.generation(t, 2))
	a.read()
	a.refused(t, tlsclient.Draining, tlsclient.FaultSelf)
	if s := f.server.Stats(); s.Requests != 1 {
		t.Errorf("the server saw %d requests, want 1", s.Requests)
	}
}

func TestNoConnectionOutlivesItsCertificate(t *testing.T) {
	open := make(chan struct{})
	f := start(t, mixed(open), func(o *tlsclient.Options) { o.IdleTimeout, o.MaxAge = 240*time.Hour, 0 })
	g := f.upstream.Generation()
	tunnel := f.upgrade(t)
	ended := make(chan error, 1)
	go func() {
		_, _, err := tunnel.Read(new(rawconn.Buffers))
		ended <- err
	}()
	busy := f.behind("POST")
	f.server.Wait(t, "both requests", func(s tlstest.Stats) bool { return s.Requests == 2 })

	f.upstream.Tidy(g.Leaf.NotAfter.Add(-time.Nanosecond))
	if s := f.upstream.State(); s.Open != 2 {
		t.Fatalf("cut before its time: %+v", s)
	}
	f.upstream.Tidy(g.Leaf.NotAfter)
	a := <-busy
	a.refused(t, tlsclient.IdentityExpired, tlsclient.FaultSelf)
	a.says(t, `identity "default"`, "generation 1", "expired on "+g.Leaf.NotAfter.UTC().Format(time.RFC3339))
	var e *tlsclient.Error
	if err := <-ended; !errors.As(err, &e) || e.Class != tlsclient.IdentityExpired {
		t.Errorf("the tunnel ended with %v", err)
	}
	close(open) // the server looks at its connection again
	f.server.Wait(t, "all to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestIdleConnectionClosesWithItsCertificate(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.IdleTimeout, o.MaxAge = 240*time.Hour, 0 })
	f.do(f.request("GET")).expect(t, 200, "ok")
	f.upstream.Tidy(f.upstream.Generation().Leaf.NotAfter)
	if s := f.upstream.State(); s.Open != 0 || s.Closed["expired"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestTunnelOfAnOldGenerationOutlivesTheRetireDeadlineButNotItsCertificate(t *testing.T) {
	f := start(t, mixed(closed()), func(o *tlsclient.Options) { o.RetireTimeout = time.Hour })
	first := f.upstream.Generation()
	tunnel := f.upgrade(t)
	f.upstream.Use(f.generation(t, 2))
	if s := f.upstream.State(); len(s.Generations) != 2 || s.Generations[1].Tunnels != 1 {
		t.Fatalf("%+v", s.Generations)
	}
	f.upstream.Overstay()
	if err := tunnel.Write([]byte("still there"), time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if buf, n, err := tunnel.Read(new(rawconn.Buffers)); err != nil || string(buf[:n]) != "still there" {
		t.Errorf("the tunnel echoes %q, %v", buf[:n], err)
	}
	f.upstream.Tidy(first.Leaf.NotAfter)
	if _, _, err := tunnel.Read(new(rawconn.Buffers)); err == nil {
		t.Error("it can still be read")
	}
	f.server.Wait(t, "it to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestRetireDeadlineIsNeverBeyondTheCertificate(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.RetireTimeout = time.Hour })
	brief := f.ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(time.Minute)})
	f.upstream.Use(load(t, brief.WriteFiles(t, "", f.ca), 2))
	_, wait := f.many(1)
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	f.upstream.Use(f.generation(t, 3))
	s := f.upstream.State()
	if len(s.Generations) != 2 || !s.Generations[1].Until.Equal(brief.Leaf.NotAfter) {
		t.Errorf("%+v, want an end on %v", s.Generations, brief.Leaf.NotAfter)
	}
	close(open)
	wait()
}

// The certificate was good when the exchange began, and expires while the connection
// is made.
func TestCertificateThatExpiresBeforeTheHandshakeIsNotShown(t *testing.T) {
	var brief *tlstest.Identity
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		o.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			<-time.After(time.Until(brief.Leaf.NotAfter) + 10*time.Millisecond)
			return new(net.Dialer).DialContext(ctx, "tcp", a.String())
		}
	})
	brief = f.ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(2 * time.Second)})
	f.upstream.Use(load(t, brief.WriteFiles(t, "", f.ca), 2))
	f.do(f.request("GET")).refused(t, tlsclient.IdentityExpired, tlsclient.FaultSelf)
	f.server.Wait(t, "the connection to close", func(s tlstest.Stats) bool { return s.Accepted == 1 && s.Open == 0 })
	if failures := f.server.Failures(); len(failures) != 1 || !errors.Is(failures[0], io.EOF) {
		t.Errorf("the server's handshake ended with %v, want the end before the first byte", failures)
	}
}

func TestStateTellsOfEveryGenerationWithConnections(t *testing.T) {
	open := make(chan struct{})
	f := start(t, mixed(open), func(o *tlsclient.Options) { o.RetireTimeout = time.Minute })
	first := f.upstream.Generation()
	f.upgrade(t)
	busy := f.behind("POST")
	f.server.Wait(t, "both requests", func(s tlstest.Stats) bool { return s.Requests == 2 })
	before := time.Now()
	second := f.generation(t, 2)
	f.upstream.Use(second)
	got := f.upstream.State().Generations
	if len(got) != 2 || got[0] != (tlsclient.GenerationState{Generation: second}) {
		t.Fatalf("%+v", got)
	}
	old := got[1]
	if old.Generation != first || old.Busy != 1 || old.Tunnels != 1 || old.Idle != 0 || old.Until.Sub(before) < time.Minute {
		t.Errorf("%+v", old)
	}
	close(open)
	(<-busy).expect(t, 200, "ok")
	f.do(f.request("GET")).expect(t, 200, "ok")
	got = f.upstream.State().Generations
	if len(got) != 2 || got[0].Idle != 1 || got[1].Busy != 0 || got[1].Tunnels != 1 {
		t.Errorf("%+v", got)
	}
}

func TestGenerationWithoutConnectionsIsForgotten(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open))
	answers, wait := f.many(2)
	f.server.Wait(t, "two requests", func(s tlstest.Stats) bool { return s.Requests == 2 })
	for n := uint64(2); n < 5; n++ {
		f.upstream.Use(f.generation(t, n))
	}
	if got := f.upstream.State().Generations; len(got) != 2 || got[1].Generation.Number != 1 || got[1].Busy != 2 {
		t.Errorf("%+v, want the present one and the first", got)
	}
	close(open)
	wait()
	for _, a := range answers {
		a.expect(t, 200, "ok")
	}
	if got := f.upstream.State().Generations; len(got) != 1 || got[0].Generation.Number != 4 {
		t.Errorf("%+v, want the present one alone", got)
	}
}

func TestDialBegunWithAnOldGenerationServesNobody(t *testing.T) {
	dialling, proceed := make(chan struct{}, 1), make(chan struct{})
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) {
		o.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			select {
			case dialling <- struct{}{}:
				<-proceed
			default:
			}
			return new(net.Dialer).DialContext(ctx, "tcp", a.String())
		}
	})
	done := f.behind("POST")
	<-dialling
	dialling <- struct{}{} // later ones do not wait
	next := f.generation(t, 2)
	f.upstream.Use(next)
	close(proceed)
	a := <-done
	a.expect(t, 200, "ok")
	seen := f.server.Requests()
	if len(seen) != 1 || seen[0].Serial != next.Serial() || a.Generation != next || a.Attempts != 1 {
		t.Errorf("the server saw %+v, in %d attempts", seen, a.Attempts)
	}
	if s := f.upstream.State(); s.Open != 1 || s.Opened != 2 || s.Closed["retired"] != 1 || s.Endpoints[0].Pending != 0 {
		t.Errorf("%+v", s)
	}
}

func TestExchangeThatWaitsAcrossASwapGetsTheNewGeneration(t *testing.T) {
	open := make(chan struct{})
	f := start(t, gate(open), func(o *tlsclient.Options) { o.MaxConns = 1 })
	first := f.behind("POST")
	f.server.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	second := f.behind("POST")
	f.upstream.AwaitWaiters(1)
	next := f.generation(t, 2)
	f.upstream.Use(next)
	close(open)
	(<-first).expect(t, 200, "ok")
	a := <-second
	a.expect(t, 200, "ok")
	if a.Generation != next || f.server.Requests()[1].Serial != next.Serial() {
		t.Errorf("it was shown generation %d", a.Generation.Number)
	}
}

// The connection is on its way to who waits for one when the swap comes.
func TestConnectionHandedOverBeforeASwapIsNotUsed(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who waits does not run until this goroutine does not
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.MaxConns = 1 })
	first := new(answer)
	if err := f.upstream.Do(f.request("POST"), &first.Response); err != nil {
		t.Fatal(err)
	}
	first.read()
	second := f.behind("POST")
	f.upstream.AwaitWaiters(1)
	next := f.generation(t, 2)
	first.Close()
	f.upstream.Use(next)
	a := <-second
	a.expect(t, 200, "ok")
	if a.Generation != next || a.Attempts != 1 {
		t.Errorf("it was shown generation %d in %d attempts", a.Generation.Number, a.Attempts)
	}
	if s := f.upstream.State(); s.Open != 1 || s.Endpoints[0].Pending != 0 || s.Closed["retired"] != 1 {
		t.Errorf("%+v", s)
	}
}

// Whatever moment a swap comes at, nothing fails, and no exchange that begins after it
// is shown what was before.
func TestSwapsInTheMidstOfTraffic(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.MaxConns = 3 })
	var generations []*tlsclient.Generation
	for n := uint64(2); n < 12; n++ {
		generations = append(generations, f.generation(t, n))
	}
	var number atomic.Uint64
	number.Store(1)
	stop, failed := make(chan struct{}), make(chan string, 1)
	var exchanges atomic.Int64
	var running sync.WaitGroup
	for i := range 6 {
		running.Go(func() {
			method := []string{"GET", "POST"}[i%2]
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := number.Load()
				a := f.do(f.request(method))
				exchanges.Add(1)
				if a.err != nil || a.Generation.Number < least {
					select {
					case failed <- fmt.Sprintf("%s: %v, with generation %v though %d was in use", method, a.err, a.Generation, least):
					default:
					}
					return
				}
			}
		})
	}
	for round := range 6 {
		for _, g := range generations {
			before := exchanges.Load()
			g := *g // a number of its own
			g.Number = number.Load() + 1
			f.upstream.Use(&g)
			number.Store(g.Number)
			for exchanges.Load() < before+int64(round) && len(failed) == 0 {
				runtime.Gosched()
			}
		}
	}
	close(stop)
	running.Wait()
	select {
	case problem := <-failed:
		t.Error(problem)
	default:
	}
	if s := f.upstream.State(); s.Open > 3 || s.Endpoints[0].Pending != 0 || len(s.Generations) != 1 {
		t.Errorf("%+v", s)
	}
}

// Nobody looks once a second in here: the timer alone does it.
func TestCertificateEndsItsBusyConnectionsOnTime(t *testing.T) {
	f := start(t, mixed(make(chan struct{})), func(o *tlsclient.Options) { o.RetireTimeout = time.Hour })
	f.upstream.StopTidying()
	for name, replaced := range map[string]bool{"in use": false, "replaced": true} {
		t.Run(name, func(t *testing.T) {
			brief := f.ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(1500 * time.Millisecond)})
			f.upstream.Use(load(t, brief.WriteFiles(t, "", f.ca), 2))
			before := f.server.Stats().Requests
			tunnel := f.upgrade(t)
			busy := f.behind("POST")
			f.server.Wait(t, "both requests", func(s tlstest.Stats) bool { return s.Requests == before+2 })
			if replaced {
				f.upstream.Use(f.generation(t, 3))
			}
			a := <-busy
			if time.Now().Before(brief.Leaf.NotAfter) {
				t.Error("cut before its time")
			}
			a.refused(t, tlsclient.IdentityExpired, tlsclient.FaultSelf)
			if _, _, err := tunnel.Read(new(rawconn.Buffers)); err == nil {
				t.Error("the tunnel can still be read")
			}
		})
	}
}

func TestTunnelOfAnOldGenerationIsCutByItsCertificateAfterTheRetireDeadline(t *testing.T) {
	f := start(t, mixed(closed()), func(o *tlsclient.Options) { o.RetireTimeout = 0 })
	f.upstream.StopTidying()
	brief := f.ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(1500 * time.Millisecond)})
	f.upstream.Use(load(t, brief.WriteFiles(t, "", f.ca), 2))
	tunnel := f.upgrade(t)
	f.upstream.Use(f.generation(t, 3))
	defer time.AfterFunc(20*time.Second, tunnel.Cut).Stop() // nobody else has
	var e *tlsclient.Error
	if _, _, err := tunnel.Read(new(rawconn.Buffers)); !errors.As(err, &e) || e.Class != tlsclient.IdentityExpired || time.Now().Before(brief.Leaf.NotAfter) {
		t.Errorf("it ended with %v", err)
	}
}
