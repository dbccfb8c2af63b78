package http1

import (
	"strings"
	"testing"
)

// TestNothingIsAllocated guards the steady state: values that have been used
// before.
func TestNothingIsAllocated(t *testing.T) {
	var (
		req    Request
		resp   Response
		src    Reader
		body   Body
		out    = make([]byte, 0, 4<<10)
		head   = []byte(typicalRequest)
		answer = []byte(typicalResponse)
		wire   = []byte(strings.Repeat("5;x\r\nhello\r\n", 20) + "0\r\nX-Sum: 1\r\n\r\n")
		limits = DefaultLimits()
	)
	open := func() {
		src.Reset(wire, len(wire))
		body.Open(&src, Chunked, 0, nil)
	}
	for name, f := range map[string]func(){
		"finding a head":     func() { _, _, _ = FindHead(head, 0) },
		"parsing a request":  func() { _ = req.Parse(head, limits) },
		"parsing a response": func() { _ = resp.Parse(answer, false, limits) },
		"writing a head": func() {
			out = AppendRequestLine(out[:0], req.Method, req.Path)
			out = AppendFraming(AppendFields(out, req.Fields), ByLength, 5)
			out = AppendStatusLine(out, 200, nil)
		},
		"reading a chunked body": func() {
			for open(); !body.Done(); {
				_, _ = body.Next()
			}
		},
		"looking at a chunked body": func() {
			if open(); !body.Complete() {
				t.Error("not complete")
			}
		},
		"going back in a chunked body": func() {
			open()
			mark := body.Mark()
			for !body.Done() {
				_, _ = body.Next()
			}
			body.Rewind(mark)
		},
		"writing chunks": func() { out = AppendLastChunk(AppendChunk(out[:0], wire), body.Trailers) },
	} {
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
