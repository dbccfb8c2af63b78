package http1

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Seeds of the fuzz targets: messages with their bodies and what follows them.
var (
	requestSeeds = []string{
		typicalRequest + strings.Repeat("x", 312),
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET http://b:80?x HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS http://[::1]:80 HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST //x/%2e?{}|^`\\ HTTP/1.1\r\nHost: a:1\r\nContent-Length: 005\r\nExpect: 100-continue\r\n\r\nhellonext",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\nnext",
		"PUT / HTTP/1.1\r\nhost:a\r\nConnection: close, X-A,,te\r\nX-A: 1\r\nX_Forwarded-For: 1\r\nPragma: no-cache\r\nA:\tb \xe9\t\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 1\r\n\r\n",
		"GET /a b HTTP/1.1\r\nHost : a\r\n b\r\nX: \x00\n\n",
	}
	responseSeeds = []string{
		typicalResponse + strings.Repeat("x", 1840),
		"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhellonext",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
		"HTTP/1.1 200  a \t\xe9\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\nnext",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nnext",
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
		"HTTP/1.1 200 OK\r\nConnection: close, X-A\r\nX-A: 1\r\nPragma: no-cache\r\nContent_Length: 5\r\n\r\nhello",
	}
	chunkedSeeds = []string{
		"5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nA: 1\r\nB:2\r\n\r\nnext",
		"0\r\n\r\n", "00a;\r\n0123456789\r\n000\r\nX : 1\r\n\r\n", "1\r\nab", "5 \r\nhello\r\n0\r\n\r\n",
		"fffffffffffffff\r\nx", "10000000000000000\r\n", "1\r\na\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n b\r\n\r\n",
	}
)

// cutHead returns the head at the start of a message, and what follows it.
func cutHead(t *testing.T, b []byte) (head, rest []byte, ok bool) {
	n, err := findHead(b)
	var all []int
	for i := range min(len(b), 1000) {
		all = append(all, i)
	}
	if n2, err2 := findHead(b, all...); n2 != n || !errors.Is(err2, err) {
		t.Fatalf("FindHead at once: %d, %v; byte by byte: %d, %v", n, err, n2, err2)
	}
	return b[:n], b[n:], n > 0
}

// clean fails if something that is passed on could end a line.
func clean(t *testing.T, parts ...[]byte) {
	t.Helper()
	for _, p := range parts {
		if bytes.ContainsAny(p, "\r\n\x00") {
			t.Fatalf("%q would be passed on", p)
		}
	}
}

func checkFields(t *testing.T, fields []Field, forwarded func(Name) bool) {
	t.Helper()
	for _, f := range fields {
		if f.Drop {
			continue
		}
		clean(t, f.Name, f.Value)
		if !isTokenBytes(f.Name) || !bytes.Equal(trim(f.Value), f.Value) {
			t.Fatalf("%q: %q would be passed on", f.Name, f.Value)
		}
		if !forwarded(f.ID) {
			t.Fatalf("%q would be passed on", f.Name)
		}
	}
}

// rewritten allows for the fields that writing a head adds to those it keeps.
func rewritten() Limits {
	l := DefaultLimits()
	l.Head, l.Fields, l.Target = 2*l.Head, l.Fields+2, 2*l.Target
	return l
}

// FuzzRequest holds that a head that is accepted, written out as it is forwarded,
// is accepted again and means the same.
func FuzzRequest(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		head, _, ok := cutHead(t, b)
		if !ok {
			return
		}
		var r Request
		if err := r.Parse(head, DefaultLimits()); err != nil {
			if err.Status < 400 || err.Status > 505 || err.Reason == "" {
				t.Fatalf("%+v is no answer", err)
			}
			return
		}
		clean(t, r.Method, r.Path, r.Authority)
		checkFields(t, r.Fields, func(id Name) bool { return !hopByHop(id) })
		if r.Framing == ByClose || r.Length < 0 || r.Framing != ByLength && r.Length != 0 {
			t.Fatalf("framing %d, length %d", r.Framing, r.Length)
		}
		host := r.Authority
		if host == nil {
			host = []byte("none")
		}
		out := AppendRequestLine(nil, r.Method, r.Path)
		out = AppendField(out, []byte("Host"), host)
		out = AppendFields(out, r.Fields)
		out = append(AppendFraming(out, r.Framing, r.Length), '\r', '\n')
		var again Request
		if n, _, err := FindHead(out, 0); n != len(out) || err != nil {
			t.Fatalf("written as %q, of which the head is %d bytes, %v", out, n, err)
		}
		if err := again.Parse(out, rewritten()); err != nil {
			t.Fatalf("written as %q, which is refused: %v", out, err)
		}
		if !bytes.Equal(again.Method, r.Method) || !bytes.Equal(again.Path, r.Path) || !bytes.Equal(again.Authority, host) ||
			again.Framing != r.Framing || again.Length != r.Length || kept(again.Fields) != kept(r.Fields) {
			t.Fatalf("written as %q, which is read as %+v instead of %+v", out, again, r)
		}
		if again.Close || again.Continue || again.WebSocket || again.Private {
			t.Fatalf("what belongs to the connection was passed on: %q", out)
		}
	})
}

// FuzzResponse is FuzzRequest for responses.
func FuzzResponse(f *testing.F) {
	for _, s := range responseSeeds {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, toHead bool) {
		head, _, ok := cutHead(t, b)
		if !ok {
			return
		}
		var r Response
		if r.Parse(head, toHead, DefaultLimits()) != nil {
			return
		}
		clean(t, r.Reason)
		checkFields(t, r.Fields, func(id Name) bool { return !responseHopByHop(id) })
		if r.Status < 100 || r.Status > 599 || r.Length < -1 || r.Framing == ByLength && r.Length < 0 ||
			r.Framing == ByClose && !r.Close || toHead && r.Framing != NoBody {
			t.Fatalf("makes no sense: %+v", r)
		}
		out := AppendStatusLine(nil, r.Status, r.Reason)
		out = AppendFields(out, r.Fields)
		out = append(AppendFraming(out, r.Framing, r.Length), '\r', '\n')
		var again Response
		if n, _, err := FindHead(out, 0); n != len(out) || err != nil {
			t.Fatalf("written as %q, of which the head is %d bytes, %v", out, n, err)
		}
		if err := again.Parse(out, toHead, rewritten()); err != nil {
			t.Fatalf("written as %q, which is refused: %v", out, err)
		}
		if again.Status != r.Status || !bytes.Equal(again.Reason, r.Reason) || again.Framing != r.Framing ||
			again.Framing == ByLength && again.Length != r.Length || kept(again.Fields) != kept(r.Fields) {
			t.Fatalf("written as %q, which is read as %+v instead of %+v", out, again, r)
		}
	})
}

// outcome is all that reading a chunked body shows.
type outcome struct {
	data, err, trailers, left string
}

// decode reads a chunked body that arrives in pieces of n bytes.
func decode(wire []byte, n int) outcome {
	var split []string
	for rest := string(wire); rest != ""; {
		p := rest[:min(n, len(rest))]
		rest = rest[len(p):]
		split = append(split, p)
	}
	b, src := opened(Chunked, 0, split...)
	data, err := readAll(b)
	if err != nil {
		return outcome{data: data, err: err.Error()}
	}
	left := string(src.Buffered()) + strings.Join(*src.Src.(*pieces), "")
	return outcome{data: data, trailers: list(b.Trailers), left: left}
}

// FuzzChunked holds that a chunked body reads the same however it arrives, and the
// same again after it has been written out.
func FuzzChunked(f *testing.F) {
	for _, s := range chunkedSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if len(wire) > 12<<10 {
			return // byte by byte must stay fast, and all must fit a buffer
		}
		whole := decode(wire, len(wire))
		for n := 1; n <= 3; n++ {
			if split := decode(wire, n); split != whole {
				t.Fatalf("whole: %q\nin pieces of %d: %q", whole, n, split)
			}
		}
		b, src := buffered(Chunked, 0, string(wire))
		if b.Complete() != (whole.err == "") || len(src.Buffered()) != len(wire) {
			t.Fatalf("complete: %v, but reading gives %q", b.Complete(), whole.err)
		}
		if whole.err != "" {
			return
		}
		var out []byte
		for {
			p, err := b.Step()
			if err != nil {
				break
			}
			out = AppendChunk(out, p)
		}
		out = append(AppendLastChunk(out, b.Trailers), whole.left...)
		again := decode(out, len(out))
		var want []string
		for _, f := range b.Trailers {
			if !f.Drop {
				clean(t, f.Name, f.Value)
				want = append(want, string(f.Name)+": "+string(f.Value))
			}
		}
		if again.data != whole.data || again.err != "" || again.left != whole.left || again.trailers != strings.Join(want, " ") {
			t.Fatalf("%q was written as %q, which reads as %q", wire, out, again)
		}
	})
}
