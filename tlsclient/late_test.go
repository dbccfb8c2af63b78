package tlsclient_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// Its time may have gone to a queue in front of Do.
func TestRequestWhoseTimeIsOverIsNotSent(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.TotalTimeout, o.Breaker.Failures = time.Second, 1 })
	for _, idle := range []int{0, 1} {
		req := f.request("POST")
		req.Begun = time.Now().Add(-2 * time.Second)
		a := f.do(req)
		a.refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultSelf)
		if s := f.server.Stats(); s.Requests != idle || a.Attempts != 0 || a.Endpoint != "" {
			t.Errorf("%d requests were seen, want %d, after %d attempts at %q", s.Requests, idle, a.Attempts, a.Endpoint)
		}
		f.do(f.request("POST")).expect(t, 200, "ok") // leaves a connection behind
	}
}

func TestEndpointIsBlamedOnlyForAnAttemptThatHadNearlyTheWholeTime(t *testing.T) {
	silent := map[string]func(*tlsclient.Options){
		"answer": func(*tlsclient.Options) {},
		"connection": func(o *tlsclient.Options) {
			o.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		},
	}
	const total = 200 * time.Millisecond
	for what, change := range silent {
		for name, c := range map[string]struct {
			spent time.Duration
			want  tlsclient.Breaker
		}{"the whole": {0, tlsclient.Open}, "half": {total / 2, tlsclient.Closed}} {
			t.Run("no "+what+" in "+name, func(t *testing.T) {
				f := start(t, tlstest.NeverAnswer(), change, func(o *tlsclient.Options) {
					o.TotalTimeout, o.Breaker, o.Retry.Attempts = total, tlsclient.BreakerOptions{Failures: 1, OpenMin: time.Minute, OpenMax: time.Minute}, 1
				})
				req := f.request("POST")
				req.Begun = time.Now().Add(-c.spent)
				f.do(req).refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
				if s := f.upstream.State().Endpoints[0]; s.Breaker != c.want {
					t.Errorf("its breaker is %s, want %s", s.Breaker, c.want)
				}
			})
		}
	}
}

// A client that is slower than the upstream never has to be waited for.
func TestTotalTimeEndsADownloadThatIsAlwaysReady(t *testing.T) {
	const total = 800 * time.Millisecond // beyond the one look that the wait for the head leaves behind
	piece := strings.Repeat("x", 64<<10)
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		err := c.Write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
		for err == nil {
			err = c.Write(piece)
		}
	}, func(o *tlsclient.Options) { o.TotalTimeout = total })
	for name, next := range map[string]func(*answer) ([]byte, error){
		"Next":  func(a *answer) ([]byte, error) { return a.Next() },
		"Ready": func(a *answer) ([]byte, error) { return a.Ready() },
	} {
		t.Run(name, func(t *testing.T) {
			a := new(answer)
			defer a.Close()
			if err := f.upstream.Do(f.request("GET"), &a.Response); err != nil {
				t.Fatal(err)
			}
			slow := time.NewTicker(5 * time.Millisecond)
			defer slow.Stop()
			for begin := time.Now(); a.err == nil && time.Since(begin) < 5*time.Second; <-slow.C {
				_, a.err = next(a)
			}
			a.refused(t, tlsclient.UpstreamTimeout, tlsclient.FaultUpstream)
		})
	}
}

func TestTotalTimeDoesNotSpoilAResponseThatIsComplete(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.TotalTimeout = 100 * time.Millisecond })
	a := new(answer)
	defer a.Close()
	req := f.request("GET")
	if err := f.upstream.Do(req, &a.Response); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Next(); string(p) != "ok" || err != nil {
		t.Fatalf("got %q, %v", p, err)
	}
	<-time.After(100 * time.Millisecond)
	a.read()
	a.expect(t, 200, "")
}
