package service_test

import (
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestHostileResponses(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	t.Run("corpus", func(t *testing.T) {
		for _, r := range loadHostileResponses(t) {
			t.Run(r.Name, func(t *testing.T) {
				t.Parallel()
				playResponse(t, p, &r)
			})
		}
	})
}

// playResponse plays one case: the first connection of the upstream misbehaves, all others are well.
func playResponse(t *testing.T, p *pki, r *hostileResponse) {
	written, reused := make(chan struct{}), make(chan bool, 1)
	first := func(c *tlstest.Conn) { reused <- r.script(c, written) }
	upstream := p.upstream(t, tlstest.PerConnection(first, tlstest.Static(tlstest.OK)))
	d := p.daemon(t, upstream)
	c := d.dial()
	got := r.play(c)
	c.close()
	<-written // what comes late is there before the next request
	other := d.dial()
	other.send(probe)
	if a := other.final("GET"); a.status != 200 || a.body != "ok" {
		t.Errorf("the next request was answered with %d %q", a.status, a.body)
	}
	d.shutdown()
	r.judge(t, c, got, d.log)
	if used := <-reused; r.Reuse == "yes" && !used || r.Reuse == "no" && used {
		t.Errorf("upstream connection used again: %v, want %s", used, r.Reuse)
	}
	if t.Failed() {
		t.Logf("%s: %s", r.Source, r.Comment)
	}
}

// script answers the first request as the case has it, and reports whether another one came on the connection.
func (r *hostileResponse) script(c *tlstest.Conn, written chan<- struct{}) (reused bool) {
	request, err := c.ReadRequest()
	if err != nil {
		return false
	}
	if _, err := c.ReadBody(request); err != nil {
		return false
	}
	wrote := sync.OnceFunc(func() { close(written) })
	defer wrote()
	for i, w := range r.Writes {
		if i > 0 {
			c.Pause(writePause)
		}
		if len(w) > 0 && c.Write(string(w)) != nil {
			break
		}
	}
	switch r.End {
	case "close_notify":
		c.End(tlstest.CloseNotify)
	case "tcp-close":
		c.End(tlstest.TCPClose)
	case "rst":
		c.End(tlstest.Reset)
	default:
		wrote()
		if _, err := c.ReadRequest(); err == nil {
			c.Write(tlstest.OK)
			return true
		}
	}
	return false
}

// playedResponse is what came of a response: all answers up to the final one, and whatever came behind it.
type playedResponse struct {
	played
	surplus string
}

// play sends the case's request and reads the answer to it.
func (r *hostileResponse) play(c *client) (got playedResponse) {
	for i, w := range r.Request {
		if i > 0 {
			pause(writePause)
		}
		c.send(string(w))
	}
	for {
		a, err := c.next(r.Method)
		if err != nil {
			got.end = err
			return got
		}
		got.answers = append(got.answers, a)
		if !a.informational() {
			break
		}
	}
	last := got.answers[len(got.answers)-1]
	c.closeWrite() // a connection that was kept ends with that, and so does a tunnel
	rest, err := io.ReadAll(c.in)
	got.end = err
	if last.status != 101 {
		got.surplus = string(rest)
	}
	return got
}

func (r *hostileResponse) judge(t *testing.T, c *client, got playedResponse, log *logBook) {
	t.Helper()
	if got.surplus != "" {
		t.Errorf("behind the answer came %.200q", got.surplus)
	}
	for _, problem := range r.Client.problems(c.received()) {
		t.Errorf("client: %s", problem)
	}
	if slices.ContainsFunc(r.Outcomes, func(o hostileOutcome) bool { return r.came(o, got, log) }) {
		return
	}
	for _, a := range got.answers {
		t.Errorf("got %d, class %q, body %.100q, cut %v", a.status, a.class(), a.body, a.cut)
	}
	t.Errorf("and then %v, want %+v; log: %q", got.end, r.Outcomes, log.with("fault="))
}

// came reports whether an outcome is what the client saw.
func (r *hostileResponse) came(o hostileOutcome, got playedResponse, log *logBook) bool {
	if len(got.answers) == 0 {
		return false
	}
	last := got.answers[len(got.answers)-1]
	blamed := len(log.with("fault=upstream")) > 0
	switch o.Kind {
	case hostilePassed:
		return matchStatuses(o.Statuses, got.statuses()) && last.class() == "" && !last.cut &&
			(r.Body == nil || last.body == *r.Body) && !blamed && got.end == nil
	case hostileOwn:
		return ownBadGateway(last) && last.class() == o.Class && blamed
	}
	if ownBadGateway(last) {
		return blamed
	}
	return matchStatuses(o.Statuses, got.statuses()) && last.class() == "" && last.cut && blamed
}

// ownBadGateway recognises an answer of the service's own, whole and of no other content.
func ownBadGateway(a *answer) bool {
	return a.status == 502 && !a.cut && a.class() != "" && strings.HasPrefix(a.body, "mtlsproxy: "+a.class()) &&
		strings.Count(a.body, "\n") == 1
}
