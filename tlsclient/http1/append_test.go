package http1

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestAppendRequest(t *testing.T) {
	const head = "PUT /x?y HTTP/1.1\r\nx-A: 1\r\nX-Empty: \r\nContent-Length: 5\r\nHost: a\r\n\r\n"
	b := AppendRequestLine([]byte(nil), []byte("PUT"), []byte("/x?y"))
	b = AppendFields(b, []Field{
		{Name: []byte("x-A"), Value: []byte("1")},
		{Name: []byte("X-Gone"), Value: []byte("1"), Drop: true},
		{Name: []byte("X-Empty")},
	})
	b = AppendFraming(b, ByLength, 5)
	b = AppendField(b, []byte("Host"), []byte("a"))
	b = append(b, '\r', '\n')
	if string(b) != head {
		t.Fatalf("written %q\n   want %q", b, head)
	}
	r := accepted(t, string(b))
	if string(r.Method) != "PUT" || string(r.Path) != "/x?y" || r.Length != 5 || kept(r.Fields) != "x-A: 1\r\nX-Empty: \r\n" {
		t.Errorf("read as %+v", r)
	}
}

func TestAppendResponse(t *testing.T) {
	for _, c := range []struct {
		status int
		reason string
		want   string
	}{
		{200, "OK", "HTTP/1.1 200 OK\r\n"},
		{100, "", "HTTP/1.1 100 \r\n"},
		{599, "a  b", "HTTP/1.1 599 a  b\r\n"},
	} {
		b := AppendStatusLine(nil, c.status, []byte(c.reason))
		if string(b) != c.want {
			t.Errorf("written %q, want %q", b, c.want)
		}
		r, err := response(t, "GET", string(b)+"\r\n")
		if err != nil || r.Status != c.status || string(r.Reason) != c.reason {
			t.Errorf("%q is read as %d %q, %v", b, r.Status, r.Reason, err)
		}
	}
}

func TestAppendFraming(t *testing.T) {
	for _, c := range []struct {
		framing Framing
		length  int64
		want    string
	}{
		{NoBody, 5, ""},
		{ByClose, -1, ""},
		{ByLength, 0, "Content-Length: 0\r\n"},
		{ByLength, math.MaxInt64, "Content-Length: 9223372036854775807\r\n"},
		{Chunked, -1, "Transfer-Encoding: chunked\r\n"},
	} {
		if got := string(AppendFraming(nil, c.framing, c.length)); got != c.want {
			t.Errorf("framing %d: %q, want %q", c.framing, got, c.want)
		}
	}
}

func TestAppendChunks(t *testing.T) {
	var wire []byte
	var want strings.Builder
	for _, n := range []int{1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 5000} {
		data := bytes.Repeat([]byte{byte(n)}, n)
		before := len(wire)
		wire = AppendChunk(wire, data)
		if over := len(wire) - before - n; over > ChunkOverhead {
			t.Errorf("a chunk of %d has %d bytes more", n, over)
		}
		want.Write(data)
	}
	if n := len(AppendChunkSize(nil, math.MaxInt)) + len("\r\n"); n != ChunkOverhead {
		t.Errorf("the largest chunk has %d bytes more, ChunkOverhead is %d", n, ChunkOverhead)
	}
	wire = AppendLastChunk(wire, []Field{
		{Name: []byte("X-Sum"), Value: []byte("1")},
		{Name: []byte("X-Gone"), Value: []byte("1"), Drop: true},
	})
	b, src := opened(Chunked, 0, string(wire)+"next")
	got, err := readAll(b)
	if got != want.String() || err != nil || list(b.Trailers) != "X-Sum: 1" || string(src.Buffered()) != "next" {
		t.Errorf("%d bytes, %v, trailers %q, left %q", len(got), err, list(b.Trailers), src.Buffered())
	}
	if last := string(AppendLastChunk(nil, nil)); last != "0\r\n\r\n" {
		t.Errorf("the last chunk is %q", last)
	}
}
