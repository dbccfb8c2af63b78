package http1

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// request parses a head that FindHead must delimit to its last byte.
func request(t *testing.T, head string) (*Request, *Error) {
	t.Helper()
	delimited(t, head)
	r := new(Request)
	err := r.Parse([]byte(head), DefaultLimits())
	return r, err
}

// accepted is request for a head that must be accepted.
func accepted(t *testing.T, head string) *Request {
	t.Helper()
	r, err := request(t, head)
	if err != nil {
		t.Fatalf("%q is refused: %v", head, err)
	}
	return r
}

// response is request for the response to a method.
func response(t *testing.T, method, head string) (*Response, *Error) {
	t.Helper()
	delimited(t, head)
	r := new(Response)
	err := r.Parse([]byte(head), method == "HEAD", DefaultLimits())
	return r, err
}

func delimited(t *testing.T, head string) {
	t.Helper()
	if n, _, err := FindHead([]byte(head), 0); err != nil || n != len(head) {
		t.Fatalf("FindHead(%q) = %d, %v; want its length %d", head, n, err, len(head))
	}
}

// kept returns the fields that are forwarded, as they are written.
func kept(fields []Field) string { return string(AppendFields(nil, fields)) }

// list returns all fields with the dropped ones in brackets: "A: 1 [B: 2]".
func list(fields []Field) string {
	var out []string
	for _, f := range fields {
		s := string(f.Name) + ": " + string(f.Value)
		if f.Drop {
			s = "[" + s + "]"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// pieces is a connection on which each string arrives by itself, and then the end.
type pieces []string

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; (*p)[0] == "" {
		*p = (*p)[1:]
	}
	return n, nil
}

// opened opens a body on a connection that sends s in the given pieces, with
// nothing read of it so far.
func opened(framing Framing, length int64, s ...string) (*Body, *Reader) {
	s = slices.DeleteFunc(s, func(piece string) bool { return piece == "" })
	src := &Reader{Src: (*pieces)(&s), Buf: make([]byte, 16<<10)}
	b := new(Body)
	b.Open(src, framing, length, nil)
	return b, src
}

// buffered opens a body all of whose bytes have been read from the connection.
func buffered(framing Framing, length int64, s string) (*Body, *Reader) {
	b, src := opened(framing, length)
	src.Reset(append(make([]byte, 0, max(len(s), 16<<10)), s...), len(s))
	src.Buf = src.Buf[:cap(src.Buf)]
	return b, src
}

// readAll reads a body to its end or its error, which is nil for a proper end.
func readAll(b *Body) (string, error) {
	var out []byte
	for {
		p, err := b.Next()
		out = append(out, p...)
		if err == io.EOF {
			return string(out), nil
		}
		if err != nil {
			return string(out), err
		}
	}
}
