package tlsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// HealthOptions describe a request that is sent to every endpoint from time to time. Only
// an answer with a 2xx status is a good one.
type HealthOptions struct {
	Path      string        // empty: there are no checks
	Interval  time.Duration // between two of them, less up to a fifth at random
	Timeout   time.Duration // of one, from connecting to the end of the answer
	Healthy   int           // so many good ones in a row make an endpoint well
	Unhealthy int           // so many bad ones in a row make it ill: no exchange goes there
}

// health is what checks of an endpoint have found. The upstream's mutex guards it.
type health struct {
	checking     bool // a goroutine does
	run          int  // of good ones in a row, or below 0 of bad ones
	last         error
	time         time.Time
	passed, lost uint64
}

// startChecks begins to check the endpoints if that is wanted and not done already. The
// mutex is held, or nobody else knows the upstream.
func (u *Upstream) startChecks() {
	if u.closed || u.opt().Health.Path == "" {
		return
	}
	for _, e := range u.endpoints {
		if !e.health.checking {
			e.health.checking = true
			u.tasks.Go(func() { u.follow(e) })
		}
	}
}

// follow checks one endpoint until that is not wanted any more. The first time is soon,
// but not the same for all.
func (u *Upstream) follow(e *endpoint) {
	due := time.Now().Add(time.Duration(rand.Int64N(int64(min(u.opt().Health.Interval, time.Second)) + 1))) //nolint:gosec // it keeps no secret
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-*u.tuned.Load():
			if o := u.opt(); o.Health.Path != "" {
				due = earlier(due, time.Now().Add(o.Health.pause()))
				continue
			}
		case <-time.After(time.Until(due)):
		}
		o := u.opt()
		if o.Health.Path == "" && u.stopChecking(e) {
			return
		}
		if done, err := u.check(e, o); done {
			u.judge(e, err)
		}
		due = time.Now().Add(u.opt().Health.pause()) // it may have been changed meanwhile
	}
}

// pause is the time between two checks.
func (o *HealthOptions) pause() time.Duration {
	return o.Interval - time.Duration(rand.Int64N(int64(o.Interval)/5+1)) //nolint:gosec // it keeps no secret
}

// stopChecking forgets what checks have found, unless they are wanted again by now.
func (u *Upstream) stopChecking(e *endpoint) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.opt().Health.Path != "" {
		return false
	}
	e.health, e.ill = health{passed: e.health.passed, lost: e.health.lost}, false
	return true
}

// judge counts what came of a check.
func (u *Upstream) judge(e *endpoint, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h, o := &e.health, &u.opt().Health
	if o.Path == "" {
		return // nobody wants to know any more
	}
	h.time, h.last = time.Now(), err
	if err == nil {
		h.passed++
		if h.run = max(h.run, 0) + 1; h.run >= o.Healthy && e.ill {
			e.ill, e.breaker.recovered = false, h.time
		}
		return
	}
	h.lost++
	if h.run = min(h.run, 0) - 1; -h.run >= o.Unhealthy && !e.ill {
		e.ill = true
		u.abandon(e, h.time)
	}
}

// checkMost is how much of an answer's body a check reads.
const checkMost = 64 << 10

// check sends one request over a connection of its own. It is not done if there is no
// certificate to show, or the upstream is closed.
func (u *Upstream) check(e *endpoint, o *Options) (done bool, _ error) {
	l := u.linkTo(e)
	if l == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(u.ctx, o.Health.Timeout)
	defer cancel()
	req := Request{
		Method: []byte("GET"), Target: []byte(o.Health.Path), Host: []byte(e.hostField(o)), Idempotent: true, Client: silent{},
		Fields: []http1.Field{{Name: []byte("User-Agent"), Value: []byte("mtlsproxy-health")}, {Name: []byte("Connection"), Value: []byte("close")}},
	}
	var r Response
	ex := &r.exchange
	*ex = exchange{upstream: u, request: &req, now: time.Now(), check: true, ctx: ctx, buffered: true}
	c, err := l.dial(ex)
	if err == nil {
		stop := context.AfterFunc(ctx, c.cut)
		err = r.check(c, &req)
		stop()
		c.close()
	}
	if l.pool.retired.Load() || u.ctx.Err() != nil {
		return false, nil // it says nothing of the present certificate
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no complete answer within %v", o.Health.Timeout)
	}
	if e := asError(err); e != nil && e.Fault == FaultSelf {
		return false, nil
	}
	return true, err
}

// check performs a request over c and looks at the answer.
func (r *Response) check(c *conn, req *Request) error {
	err := r.roundTrip(c, req)
	for n := 0; err == nil && n < checkMost; {
		var p []byte
		p, err = r.Next()
		n += len(p)
	}
	c.end()
	c.dropBuffer()
	r.conn = nil
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case r.Status/100 != 2:
		return fmt.Errorf("the answer has status %d", r.Status)
	}
	return nil
}

// linkTo returns the present generation's link to e, or nil.
func (u *Upstream) linkTo(e *endpoint) *link {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pool == nil || u.closed {
		return nil
	}
	for _, l := range u.pool.links {
		if l.endpoint == e {
			return l
		}
	}
	return nil
}

// hostField is the Host of a check.
func (e *endpoint) hostField(o *Options) string {
	if e.Port == 443 && !isLiteral(e.serverName(o)) {
		return e.serverName(o)
	}
	return net.JoinHostPort(e.serverName(o), portText(e.Port))
}

// silent is a client that nobody is.
type silent struct{}

func (silent) Abandoned() error                    { return nil }
func (silent) Informational(*http1.Response) error { return nil }
func (silent) StopBody()                           {}
