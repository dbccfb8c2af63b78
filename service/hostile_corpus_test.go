package service_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// The corpus in testdata/hostile says what may come from either side and what must come of it; its README.md has the
// format. These are its cases in Go, for whoever plays them against a running proxy.

// A hostileRequest is what a client sends and what must come of it.
type hostileRequest struct {
	Name    string
	Source  string // file:line
	Comment string

	// Writes go out one by one with a short pause in between.
	Writes [][]byte
	// HalfClose: the client shuts its sending side afterwards (after a pause, if the last write is empty).
	HalfClose bool
	// Methods of the requests sent, as far as they matter for reading the responses: only HEAD does. May be shorter
	// than the number of requests, and is mostly empty.
	Methods []string

	// Statuses of all responses on the connection, in order; matchStatuses compares.
	Statuses []hostileStatus
	// After tells what becomes of the connection then: "close", "keep" (one more request on it is answered with 200)
	// or "any".
	After string
	// Error is the Mtlsproxy-Error field of the last response; "" if it does not matter.
	Error string

	// The upstream receives at least MinUpstream and at most MaxUpstream complete requests …
	MinUpstream, MaxUpstream int
	// … and, if Partial, perhaps the beginning of one more, which must never become complete.
	Partial bool
	// UpstreamBodies are the bodies, without framing, of its first requests; nil if they do not matter.
	UpstreamBodies []string

	// Upstream and Client judge all bytes that the upstream and the client received.
	Upstream, Client hostileBytes
}

// A hostileResponse is what an upstream sends and what must come of it. The upstream connection is a fresh one.
type hostileResponse struct {
	Name    string
	Source  string // file:line
	Comment string

	// Request is what the client sends, in one or more writes; Method and Version10 tell how to read the answer.
	Request   [][]byte
	Method    string
	Version10 bool

	// Writes go out one by one, with a short pause in between, once the upstream has read the whole request.
	Writes [][]byte
	// End is how the upstream ends the connection afterwards (after a pause, if the last write is empty): "keep",
	// "close_notify", "tcp-close" or "rst".
	End string

	// Outcomes: any of them will do.
	Outcomes []hostileOutcome
	// Body is the whole body that the client reads where the outcome is hostilePassed; nil if it does not matter.
	Body *string
	// Client judges all bytes that the client received.
	Client hostileBytes
	// Reuse tells whether the upstream connection may serve another request: "yes", "no" or "any".
	Reuse string
}

// A hostileKind is the sort of answer that a client receives to a request whose upstream misbehaves.
type hostileKind string

const (
	// hostilePassed: the upstream's response, whole.
	hostilePassed hostileKind = "passed"
	// hostileOwn: the proxy's own 502.
	hostileOwn hostileKind = "502"
	// hostileTruncated: the beginning of the upstream's response, and the client can tell that it is not whole; or,
	// if the proxy noticed in time, an own 502 of any class.
	hostileTruncated hostileKind = "truncated"
)

// A hostileOutcome is one acceptable answer.
type hostileOutcome struct {
	Kind hostileKind
	// Statuses the client receives, informational ones first. Before a hostileOwn any valid informational responses
	// of the upstream may come, which are not listed.
	Statuses []hostileStatus
	// Class is the Mtlsproxy-Error field of a hostileOwn.
	Class string
}

// A hostileStatus is one expected status: one of AnyOf, or, if Optional, no response at all.
type hostileStatus struct {
	AnyOf    []int
	Optional bool
}

// matchStatuses reports whether the responses received are the ones expected.
func matchStatuses(want []hostileStatus, got []int) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if len(got) > 0 && slices.Contains(want[0].AnyOf, got[0]) && matchStatuses(want[1:], got[1:]) {
		return true
	}
	return want[0].Optional && matchStatuses(want[1:], got)
}

// hostileBytes judge what arrived on a connection.
type hostileBytes struct {
	Has   []string // in this spelling
	Lacks []string // in any spelling
}

// problems says what is wrong with the bytes received.
func (h hostileBytes) problems(received []byte) []string {
	var found []string
	for _, text := range h.Has {
		if !bytes.Contains(received, []byte(text)) {
			found = append(found, fmt.Sprintf("%q is missing", text))
		}
	}
	folded := lowerASCII(received)
	for _, text := range h.Lacks {
		if bytes.Contains(folded, lowerASCII([]byte(text))) {
			found = append(found, fmt.Sprintf("%q must not be there", text))
		}
	}
	return found
}

// lowerASCII leaves bytes above ASCII alone, which bytes.ToLower would take for broken UTF-8 and replace.
func lowerASCII(b []byte) []byte {
	lower := bytes.Clone(b)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return lower
}

// loadHostileRequests returns testdata/hostile/requests, in order of file and line.
func loadHostileRequests(tb testing.TB) []hostileRequest {
	tb.Helper()
	return loadHostile(tb, "testdata/hostile/requests", requestOf)
}

// loadHostileResponses returns testdata/hostile/responses, in order of file and line.
func loadHostileResponses(tb testing.TB) []hostileResponse {
	tb.Helper()
	return loadHostile(tb, "testdata/hostile/responses", responseOf)
}
