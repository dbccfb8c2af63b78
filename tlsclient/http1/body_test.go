package http1

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestBody(t *testing.T) {
	for _, c := range []struct {
		name       string
		framing    Framing
		length     int64
		wire, want string
		left       string // is not the body's
		err        error
	}{
		{"none", NoBody, 0, "next", "", "next", nil},
		{"none, whatever its length", NoBody, 5, "next", "", "next", nil},
		{"empty", ByLength, 0, "next", "", "next", nil},
		{"by length", ByLength, 5, "hellonext", "hello", "next", nil},
		{"chunked", Chunked, 0, "5\r\nhello\r\n0\r\n\r\nnext", "hello", "next", nil},
		{"by close", ByClose, 0, "hello", "hello", "", nil},
		{"by close, empty", ByClose, 0, "", "", "", nil},
		{"by length, cut", ByLength, 5, "hell", "hell", "", ErrTruncated},
		{"by length, nothing", ByLength, 5, "", "", "", ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, wire := range [][]string{{c.wire}, strings.Split(c.wire, "")} {
				b, src := opened(c.framing, c.length, wire...)
				got, err := readAll(b)
				rest, _ := io.ReadAll(src.Src)
				left := string(src.Buffered()) + string(rest)
				if got != c.want || !errors.Is(err, c.err) || left != c.left {
					t.Errorf("%q, %v, leaving %q; want %q, %v, %q", got, err, left, c.want, c.err, c.left)
				}
				if _, err := b.Next(); c.err == nil && err != io.EOF {
					t.Errorf("after the end comes %v", err)
				}
			}
		})
	}
}

// TestByCloseNeedsProperEnd holds that a stream that was cut does not make a body.
func TestByCloseNeedsProperEnd(t *testing.T) {
	for _, clean := range []bool{true, false} {
		b, src := opened(ByClose, 0, "hello")
		b.Open(src, ByClose, 0, func() bool { return clean })
		got, err := readAll(b)
		if got != "hello" || (err == nil) != clean || b.Done() != clean {
			t.Errorf("ended properly: %v; got %q, %v, done %v", clean, got, err, b.Done())
		}
	}
}

// failing is a connection that pauses longer than it may, once.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	if err := f.err; err != nil {
		f.err = nil
		return 0, err
	}
	return f.Reader.Read(b)
}

// TestBodyGoesOnAfterReadError holds that what reading returns is passed on and
// leaves the body where it was.
func TestBodyGoesOnAfterReadError(t *testing.T) {
	pause := errors.New("pause")
	b, src := opened(Chunked, 0, "5\r\nhe", "llo\r\n0\r\n\r\n")
	if p, err := b.Next(); string(p) != "he" || err != nil {
		t.Fatalf("%q, %v", p, err)
	}
	src.Src = &failing{src.Src, pause}
	if p, err := b.Next(); p != nil || !errors.Is(err, pause) {
		t.Fatalf("%q, %v; want %v", p, err, pause)
	}
	if got, err := readAll(b); got != "llo" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStepDoesNotRead(t *testing.T) {
	for _, framing := range []Framing{ByLength, Chunked, ByClose} {
		b, src := opened(framing, 5)
		src.Src = nil // reading would panic
		if p, err := b.Step(); p != nil || err != nil {
			t.Errorf("framing %d: %q, %v", framing, p, err)
		}
	}
}

func TestBodyComplete(t *testing.T) {
	const chunked = "5\r\nhello\r\n6;x\r\n world\r\n0\r\nA: 1\r\n\r\n"
	for _, c := range []struct {
		name    string
		framing Framing
		length  int64
		wire    string
		want    bool
	}{
		{"none", NoBody, 0, "", true},
		{"empty", ByLength, 0, "", true},
		{"by length, all there", ByLength, 5, "hello", true},
		{"by length, with more", ByLength, 5, "hellonext", true},
		{"by length, one byte missing", ByLength, 5, "hell", false},
		{"by close", ByClose, 0, "hello", false},
		{"chunked, all there", Chunked, 0, chunked, true},
		{"chunked, with more", Chunked, 0, chunked + "x", true},
		{"chunked, nothing there", Chunked, 0, "", false},
		{"chunked, broken", Chunked, 0, "5\r\nhelloXX0\r\n\r\n", false},
		{"chunked, broken in its trailers", Chunked, 0, "0\r\nA : 1\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, src := buffered(c.framing, c.length, c.wire)
			for range 2 {
				if got := b.Complete(); got != c.want {
					t.Errorf("Complete is %v, want %v", got, c.want)
				}
				if string(src.Buffered()) != c.wire {
					t.Errorf("it left %q", src.Buffered())
				}
			}
		})
	}
	t.Run("chunked, anywhere but at the end", func(t *testing.T) {
		for i := range len(chunked) {
			if b, _ := buffered(Chunked, 0, chunked[:i]); b.Complete() {
				t.Errorf("complete with %q", chunked[:i])
			}
		}
	})
}

// TestCompleteInTheMiddle asks at every step of a body that comes byte by byte, and
// expects that asking changes nothing.
func TestCompleteInTheMiddle(t *testing.T) {
	const wire = "5\r\nhello\r\n1;x\r\n!\r\n0\r\nA: 1\r\nB: 2\r\n\r\n"
	b, src := opened(Chunked, 0, strings.Split(wire, "")...)
	var got []byte
	for !b.Done() {
		p, err := b.Step()
		got = append(got, p...)
		complete := b.Complete()
		if complete != (len(*src.Src.(*pieces)) == 0) {
			t.Fatalf("complete %v with %d bytes to come", complete, len(*src.Src.(*pieces)))
		}
		if p == nil && err == nil {
			if err := src.Fill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if string(got) != "hello!" || list(b.Trailers) != "A: 1 B: 2" {
		t.Errorf("%q with %q", got, list(b.Trailers))
	}
}

func TestRewind(t *testing.T) {
	for _, c := range []struct {
		name    string
		framing Framing
		wire    string
		want    string
	}{
		{"by length", ByLength, "hello world", "hello world"},
		{"chunked", Chunked, "5\r\nhello\r\n6\r\n world\r\n0\r\nA: 1\r\n\r\nnext", "hello world"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Mark after each number of steps, and come back from the end.
			for steps := range 4 {
				b, src := buffered(c.framing, int64(len(c.wire)), c.wire)
				var head string
				for range steps {
					p, _ := b.Step()
					head += string(p)
				}
				mark, left := b.Mark(), string(src.Buffered())
				for range 3 {
					tail, err := readAll(b)
					if head+tail != c.want || err != nil || !b.Done() {
						t.Fatalf("after %d steps: %q + %q, %v", steps, head, tail, err)
					}
					if c.framing == Chunked && list(b.Trailers) != "A: 1" {
						t.Fatalf("after %d steps: trailers %q", steps, list(b.Trailers))
					}
					b.Rewind(mark)
					if string(src.Buffered()) != left {
						t.Fatalf("after %d steps: back at %q, want %q", steps, src.Buffered(), left)
					}
				}
			}
		})
	}
}

// TestRewindFromError holds that what was not broken at a mark is not broken there.
func TestRewindFromError(t *testing.T) {
	b, _ := buffered(Chunked, 0, "5\r\nhello\r\nx\r\n")
	mark := b.Mark()
	for range 2 {
		b.Rewind(mark)
		if p, err := b.Step(); string(p) != "hello" || err != nil {
			t.Errorf("%q, %v", p, err)
		}
		if _, err := b.Next(); err == nil {
			t.Error("no error")
		}
	}
}

func TestReader(t *testing.T) {
	t.Run("moves what is buffered to the front", func(t *testing.T) {
		src := Reader{Src: &pieces{"abcd", "ef"}, Buf: make([]byte, 4)}
		if err := src.Fill(); err != nil || string(src.Take(3)) != "abc" {
			t.Fatal(err)
		}
		if err := src.Fill(); err != nil || string(src.Buffered()) != "def" {
			t.Errorf("%q, %v", src.Buffered(), err)
		}
		if err := src.Fill(); err != io.EOF || string(src.Buffered()) != "def" {
			t.Errorf("at the end %q, %v", src.Buffered(), err)
		}
	})
	t.Run("tells that it is full", func(t *testing.T) {
		src := Reader{Src: &pieces{"abcdef"}, Buf: make([]byte, 4)}
		if err := src.Fill(); err != nil {
			t.Fatal(err)
		}
		if err := src.Fill(); !errors.Is(err, ErrBufferFull) || string(src.Buffered()) != "abcd" {
			t.Errorf("%q, %v", src.Buffered(), err)
		}
		old := src.Grow(8)
		if err := src.Fill(); err != nil || string(src.Buffered()) != "abcdef" || len(old) != 4 {
			t.Errorf("grown: %q, %v", src.Buffered(), err)
		}
	})
	t.Run("does not wait for a source without progress", func(t *testing.T) {
		src := Reader{Src: &pieces{""}, Buf: make([]byte, 4)}
		if err := src.Fill(); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%v", err)
		}
	})
	t.Run("keeps bytes that come with an error", func(t *testing.T) {
		src := Reader{Src: lastBytes{}, Buf: make([]byte, 4)}
		if err := src.Fill(); err != nil || string(src.Buffered()) != "a" || src.Empty() {
			t.Errorf("%q, %v", src.Buffered(), err)
		}
		src.Take(1)
		if !src.Empty() {
			t.Error("not empty")
		}
	})
}

type lastBytes struct{}

func (lastBytes) Read(b []byte) (int, error) { return copy(b, "a"), io.EOF }

func TestChunkedBodyIsCutWhereItGrowsTooLarge(t *testing.T) {
	t.Parallel()
	f := func(max int64, stream, want string, end error) {
		t.Helper()
		b, _ := opened(Chunked, 0, strings.Split(stream, "")...)
		b.Max = max
		got, err := readAll(b)
		if got != want || !errors.Is(err, end) {
			t.Errorf("at most %d: got %q, %v; want %q, %v", max, got, err, want, end)
		}
	}
	f(5, "5\r\nhello\r\n0\r\n\r\n", "hello", nil)
	f(5, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", nil)
	f(5, "3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n", "hel", ErrBodyTooLarge)
	f(5, "6\r\nhello!\r\n0\r\n\r\n", "", ErrBodyTooLarge)
	f(5, "7fffffffffffff\r\n", "", ErrBodyTooLarge)
	f(5, "1\r\na\r\n7fffffffffffff\r\n", "a", ErrBodyTooLarge)
	f(0, "6\r\nhello!\r\n0\r\n\r\n", "hello!", nil)
}

// trickle gives a byte at a time.
type trickle struct{ rest string }

func (r *trickle) Read(p []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	n := copy(p[:1], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestBodyGather(t *testing.T) {
	const head = "head"
	for _, c := range []struct {
		name     string
		framing  Framing
		length   int64
		size     int // of the buffer
		wire     string
		buffered string
		err      error
	}{
		{"fits", ByLength, 5, 9, "hello", "hello", nil},
		{"does not fit behind the head", ByLength, 5, 8, "hello", "h", nil},
		{"is larger than the buffer", ByLength, 1 << 40, 9, "hello", "h", nil},
		{"unknown length", Chunked, 0, 20, "5\r\nhello\r\n", "5", nil},
		{"ends too early", ByLength, 5, 9, "hel", "hel", ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := &Reader{Src: &trickle{c.wire[1:]}}
			buf := make([]byte, c.size)
			src.Reset(buf, copy(buf, head+c.wire[:1]))
			taken := src.Take(len(head))
			var b Body
			b.Open(src, c.framing, c.length, nil)
			if err := b.Gather(); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if string(src.Buffered()) != c.buffered || string(taken) != head {
				t.Errorf("%q is buffered, want %q; the head is %q", src.Buffered(), c.buffered, taken)
			}
		})
	}
}
