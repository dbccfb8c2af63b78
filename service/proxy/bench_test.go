package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// within calls f with an exchange as a client's request makes it, and what is known of its caller.
func within(tb testing.TB, request string, uid int64, who caller.Caller, f func(*exchange)) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := New(Options{Buffers: new(rawconn.Buffers), Log: slog.New(slog.DiscardHandler)})
	s := &front.Server{
		Buffers: p.Buffers, Log: p.Log,
		Who: func(net.Conn) int64 { return uid },
		Identify: func(net.Conn) (caller.Caller, error) {
			if who.UID == caller.None {
				return who, errors.New("nobody knows")
			}
			return who, nil
		},
		Handler: func(x *front.Exchange) {
			e := &exchange{p: p, x: x, mem: make([]byte, 0, 1024)}
			e.begun, e.listener = time.Now(), "http"
			f(e)
			x.CloseAfter()
			_ = x.Answer(200, "OK", nil, "done")
		},
	}
	s.Limit(front.Limits{Limits: http1.DefaultLimits(), HeaderTimeout: time.Minute, IdleTimeout: time.Minute, BodyTimeout: time.Minute})
	served := make(chan error, 1)
	go func() { served <- s.Serve(front.NewListener(l, "http")) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close() // if the test ends early
	if _, err := io.WriteString(c, request); err != nil {
		tb.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) == 0 {
		tb.Errorf("got %q, %v", b, err)
	}
	c.Close() // or it is waited for
	s.Drain()
	if err := errors.Join(s.Wait(context.Background()), <-served); err != nil {
		tb.Error(err)
	}
}

const usual = "GET /some/path?q=1 HTTP/1.1\r\nHost: api.test\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Tenant: blue\r\nConnection: keep-alive\r\n\r\n"

// What callers and limits cost each request: all of them are on.
func BenchmarkAdmission(b *testing.B) {
	now := time.Now()
	rate := limiter.RateOptions{Requests: 1_000_000_000, Per: time.Second, Burst: 1_000_000_000, Keys: 4096}
	allowed, err := caller.NewSet([]string{"uid:1", "gid:8"})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, r *Route) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			within(b, usual, 7, caller.Caller{UID: 7, GIDs: []uint32{7, 8}}, func(e *exchange) {
				for b.Loop() {
					if f := e.authorise(r); f != nil {
						b.Fatal(f)
					}
					if err := e.admit(r); err != nil {
						b.Fatal(err)
					}
					e.ticket.Leave()
				}
			})
		})
	}
	anybody, err := caller.NewSet([]string{"any"})
	if err != nil {
		b.Fatal(err)
	}
	run("any, no limits", &Route{Callers: anybody})
	run("callers by group", &Route{Callers: allowed})
	run("everything", &Route{Callers: allowed, Limit: Limit{
		Rate: limiter.NewRate(rate, now), Per: PerHeader, Header: "X-Tenant",
		Gate: limiter.NewGate(limiter.GateOptions{Capacity: 64, PerKey: 8, Queue: 128}), QueueTimeout: time.Second,
		Body: 10 << 20, TooLarge: new(atomic.Uint64),
	}})
}
