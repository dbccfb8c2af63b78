package service_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Tests of the corpus itself: what it calls valid must be so, or a proxy would be bent to a slip of the pen.

func TestHostileCorpusIsWholeAndUnambiguous(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	note := func(name, source string) {
		if before, dup := seen[name]; dup {
			t.Errorf("%s: %s stands in %s already", source, name, before)
		}
		seen[name] = source
	}
	requests, responses := loadHostileRequests(t), loadHostileResponses(t)
	for _, r := range requests {
		note(r.Name, r.Source)
		if r.Writes == nil && !r.HalfClose {
			t.Errorf("%s: %s sends nothing and waits", r.Source, r.Name)
		}
	}
	for _, r := range responses {
		note(r.Name, r.Source)
		if r.Writes == nil && r.End == "keep" {
			t.Errorf("%s: %s sends nothing and waits", r.Source, r.Name)
		}
	}
	if len(requests) < 150 || len(responses) < 50 {
		t.Errorf("%d requests and %d responses: something was lost", len(requests), len(responses))
	}
}

// TestHostileValidRequestsReadTheSameElsewhere has net/http read every request that must be answered with 200: it must
// find as many, with the same bodies.
func TestHostileValidRequestsReadTheSameElsewhere(t *testing.T) {
	t.Parallel()
	for _, r := range loadHostileRequests(t) {
		if !allOK(r.Statuses) {
			continue
		}
		reader := bufio.NewReader(bytes.NewReader(bytes.Join(r.Writes, nil)))
		want := 0
		for _, s := range r.Statuses {
			if s.AnyOf[0] == 200 {
				want++
			}
		}
		for i := range want {
			skipEmptyLine(reader)
			request, err := http.ReadRequest(reader)
			if err != nil {
				t.Errorf("%s: %s: request %d: %v", r.Source, r.Name, i, err)
				break
			}
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Errorf("%s: %s: body %d: %v", r.Source, r.Name, i, err)
			}
			if i < len(r.UpstreamBodies) && string(body) != r.UpstreamBodies[i] {
				t.Errorf("%s: %s: body %d is %.60q, want %.60q", r.Source, r.Name, i, body, r.UpstreamBodies[i])
			}
			if i == want-1 && !request.Close && reader.Buffered() > 0 {
				t.Errorf("%s: %s: bytes left behind the last request", r.Source, r.Name)
			}
		}
	}
}

// allOK reports whether nothing but 200, and 100 on the way, is expected.
func allOK(statuses []hostileStatus) bool {
	for _, s := range statuses {
		if len(s.AnyOf) != 1 || s.AnyOf[0] != 200 && s.AnyOf[0] != 100 {
			return false
		}
	}
	return len(statuses) > 0
}

// skipEmptyLine does what RFC 9112 2.2 recommends and http.ReadRequest leaves to its caller.
func skipEmptyLine(reader *bufio.Reader) {
	if start, _ := reader.Peek(2); string(start) == "\r\n" {
		reader.Discard(2)
	}
}

// TestHostileValidResponsesReadTheSameElsewhere does the same for the responses that must pass.
func TestHostileValidResponsesReadTheSameElsewhere(t *testing.T) {
	t.Parallel()
	for _, r := range loadHostileResponses(t) {
		if len(r.Outcomes) > 1 || r.Outcomes[0].Kind != hostilePassed {
			continue
		}
		reader := bufio.NewReader(bytes.NewReader(bytes.Join(r.Writes, nil)))
		want := r.Outcomes[0].Statuses
		for {
			response, err := http.ReadResponse(reader, &http.Request{Method: r.Method})
			if err != nil {
				t.Errorf("%s: %s: %v", r.Source, r.Name, err)
				break
			}
			final := response.StatusCode >= 200 || response.StatusCode == 101
			if !final {
				continue
			}
			if last := want[len(want)-1].AnyOf[0]; response.StatusCode != last {
				t.Errorf("%s: %s: status %d, want %d", r.Source, r.Name, response.StatusCode, last)
			}
			body, err := io.ReadAll(response.Body)
			if r.Body != nil && (err != nil || string(body) != *r.Body) {
				t.Errorf("%s: %s: body %.60q (%v), want %.60q", r.Source, r.Name, body, err, *r.Body)
			}
			break
		}
	}
}

func TestMatchStatuses(t *testing.T) {
	t.Parallel()
	f := func(want string, got []int, match bool) {
		t.Helper()
		statuses, err := parseStatuses(strings.Fields(want))
		if err != nil {
			t.Fatal(err)
		}
		if matchStatuses(statuses, got) != match {
			t.Errorf("%q matches %v: want %v", want, got, match)
		}
	}
	f("", nil, true)
	f("", []int{200}, false)
	f("200", nil, false)
	f("100? 200", []int{200}, true)
	f("100? 200", []int{100, 200}, true)
	f("100? 200", []int{100}, false)
	f("200 400?", []int{200}, true)
	f("400|501", []int{501}, true)
	f("200*3", []int{200, 200, 200}, true)
	f("200*3", []int{200, 200}, false)
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if got, err := unescape(text); err != nil || got != want {
			t.Errorf("unescape(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	f(`a\r\n\t\0\\\x20\xe9`, "a\r\n\t\x00\\ \xe9")
	f(`{repeat:2:a{repeat:3:b}\}}c`, "abbb}abbb}c")
	f(`{a}`, "{a}")
	for _, bad := range []string{`a `, `\q`, `\x4`, `{repeat:2:a`, `{repeat:x:a}`, "\t", "é"} {
		if got, err := unescape(bad); err == nil {
			t.Errorf("unescape(%q) = %q, want an error", bad, got)
		}
	}
}

func TestHostileBytes(t *testing.T) {
	t.Parallel()
	judge := hostileBytes{Has: []string{"X-A: \xe9"}, Lacks: []string{"X-B: \xe9"}}
	f := func(received string, problems int) {
		t.Helper()
		if got := judge.problems([]byte(received)); len(got) != problems {
			t.Errorf("problems in %q: %q, want %d", received, got, problems)
		}
	}
	f("x-a: \xe9", 1)
	f("X-A: \xe9", 0)
	f("X-A: \xe9 x-b: \xe9", 1)
}
