package service_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// writePause separates two writes of a case, so that most likely they are read one by one.
const writePause = 3 * time.Millisecond

func TestHostileRequests(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	t.Run("corpus", func(t *testing.T) { // returns when its parallel subtests have
		for _, r := range loadHostileRequests(t) {
			t.Run(r.Name, func(t *testing.T) {
				t.Parallel()
				playRequest(t, p, &r, (*daemon).dial)
			})
			if r.HalfClose { // which looks different on a unix socket
				t.Run(r.Name+"-unix", func(t *testing.T) {
					t.Parallel()
					playRequest(t, p, &r, (*daemon).dialUnix)
				})
			}
		}
	})
}

// playRequest plays one case against a service and an upstream of its own.
func playRequest(t *testing.T, p *pki, r *hostileRequest, dial func(*daemon) *client) {
	var counter requestCounter
	upstream := p.upstream(t, counter.script)
	d := p.daemon(t, upstream)
	c := dial(d)
	go r.write(c)
	got := r.read(c)
	r.judgeClient(t, c, got)
	c.close()
	d.shutdown()
	upstream.Close() // and its scripts have returned
	r.judgeUpstream(t, upstream, &counter)
	for _, line := range d.log.with("fault=") {
		t.Errorf("the upstream did nothing wrong, but the log says: %s", line)
	}
	if t.Failed() {
		t.Logf("%s: %s", r.Source, r.Comment)
	}
}

func (r *hostileRequest) write(c *client) {
	for i, w := range r.Writes {
		if i > 0 {
			pause(writePause)
		}
		c.send(string(w))
	}
	if r.HalfClose {
		c.closeWrite()
	}
}

func pause(d time.Duration) { <-time.After(d) }

// probe is one more request, which tells whether the connection can still be used.
const probe = "GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"

// read collects the answers up to the end of the connection, which it brings about itself once what must come has come,
// unless the service has to.
func (r *hostileRequest) read(c *client) (got played) {
	due := r.certain()
	for finals := 0; ; {
		if finals == due && !got.probed {
			got.probed = true
			switch r.After {
			case "keep":
				c.send(probe)
			case "any":
				c.closeWrite()
			}
		}
		method := "GET"
		if finals < len(r.Methods) {
			method = r.Methods[finals]
		}
		a, err := c.next(method)
		if err != nil {
			got.end = err
			return got
		}
		got.answers = append(got.answers, a)
		if !a.informational() {
			finals++
		}
	}
}

// certain counts the final responses that must come.
func (r *hostileRequest) certain() (n int) {
	for _, s := range r.Statuses {
		if !s.Optional && s.AnyOf[0] >= 200 {
			n++
		}
	}
	return n
}

// played is what a client got.
type played struct {
	answers []*answer
	end     error // how reading ended
	probed  bool
}

func (p *played) statuses() (out []int) {
	for _, a := range p.answers {
		out = append(out, a.status)
	}
	return out
}

func (r *hostileRequest) judgeClient(t *testing.T, c *client, got played) {
	t.Helper()
	want := r.Statuses
	if r.After == "keep" {
		want = append(slices.Clip(want), hostileStatus{AnyOf: []int{200}})
	}
	if !matchStatuses(want, got.statuses()) {
		t.Errorf("got statuses %v and then %v, want %v", got.statuses(), got.end, describeStatuses(want))
	}
	var timeout net.Error
	if errors.As(got.end, &timeout) && timeout.Timeout() {
		t.Error("the connection was not closed")
	}
	if !errors.Is(got.end, io.EOF) && len(got.answers) > 0 {
		t.Errorf("the connection ended with %v", got.end)
	}
	for _, a := range got.answers {
		if a.cut {
			t.Errorf("the answer %d was cut short", a.status)
		}
		if own := a.class() != ""; own != (a.status >= 400) {
			t.Errorf("the answer %d has the class %q", a.status, a.class())
		}
	}
	if n := len(got.answers); n > 0 && r.Error != "" && got.answers[n-1].status >= 400 && got.answers[n-1].class() != r.Error {
		t.Errorf("the class is %q, want %q", got.answers[n-1].class(), r.Error)
	}
	for _, problem := range r.Client.problems(c.received()) {
		t.Errorf("client: %s", problem)
	}
}

func describeStatuses(want []hostileStatus) (out []string) {
	for _, s := range want {
		text := strings.Trim(fmt.Sprint(s.AnyOf), "[]")
		if s.Optional {
			text += "?"
		}
		out = append(out, text)
	}
	return out
}

func (r *hostileRequest) judgeUpstream(t *testing.T, upstream *tlstest.Server, counter *requestCounter) {
	t.Helper()
	received := upstream.Received()
	bodies, begun := counter.bodies, counter.begun
	if r.After == "keep" && len(bodies) > 0 { // the probe's
		bodies, begun = bodies[:len(bodies)-1], begun-1
	}
	if n := len(bodies); n < r.MinUpstream || n > r.MaxUpstream {
		t.Errorf("the upstream received %d requests, want %d to %d", n, r.MinUpstream, r.MaxUpstream)
	}
	if partial := begun - len(bodies); partial > 1 || partial > 0 && !r.Partial {
		t.Errorf("the upstream received %d incomplete requests", partial)
	}
	for i, body := range r.UpstreamBodies {
		if i < len(bodies) && bodies[i] != body {
			t.Errorf("the upstream received the body %.100q, want %.100q", bodies[i], body)
		}
	}
	for _, problem := range r.Upstream.problems(received) {
		t.Errorf("upstream: %s; it received %.1000q", problem, received)
	}
	for _, seen := range upstream.Requests() {
		for _, problem := range headProblems(seen.Head) {
			t.Errorf("upstream: %s in %.1000q", problem, seen.Head)
		}
	}
}

// headProblems finds what no head that the service sends may have, whatever the client sent.
func headProblems(head []byte) (found []string) {
	if bytes.Count(head, []byte("\n")) != bytes.Count(head, []byte("\r\n")) || bytes.Count(head, []byte("\r")) != bytes.Count(head, []byte("\n")) {
		found = append(found, "a bare CR or LF")
	}
	count := map[string]int{}
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		name, _, ok := strings.Cut(line, ":")
		if line != "" && (!ok || name == "" || strings.ContainsAny(name, " \t\x00")) {
			found = append(found, fmt.Sprintf("the malformed field line %q", line))
		}
		count[strings.ReplaceAll(strings.ToLower(name), "_", "-")]++
	}
	for name, want := range map[string]int{"host": 1, "x-request-id": 1, "via": 1, "forwarded": 1, "x-forwarded-proto": 1} {
		if n := count[name]; n != want && !(name == "via" && n > want) {
			found = append(found, fmt.Sprintf("%s stands %d times", name, n))
		}
	}
	if count["content-length"]+count["transfer-encoding"] > 1 {
		found = append(found, "more than one framing")
	}
	return found
}

// requestCounter is an upstream that reads each request to its end before it answers.
type requestCounter struct {
	mu     sync.Mutex
	begun  int
	bodies []string // of the complete requests
}

func (s *requestCounter) script(c *tlstest.Conn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.begun++
		s.mu.Unlock()
		body, err := c.ReadBody(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		response := tlstest.OK
		if r.Method == "HEAD" {
			response = strings.TrimSuffix(response, "ok")
		}
		if c.Write(response) != nil {
			return
		}
	}
}
