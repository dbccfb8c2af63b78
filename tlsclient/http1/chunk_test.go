package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestChunkedGrammar(t *testing.T) {
	for _, c := range []struct {
		name, wire, want string
		err              error
	}{
		{"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", nil},
		{"nothing", "0\r\n\r\n", "", nil},
		{"hexadecimal in either case", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", nil},
		{"leading zeros", "000000000000005\r\nhello\r\n000\r\n\r\n", "hello", nil},
		{"data that looks like the end", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", nil},
		{"extensions", "5;a\r\nhello\r\n0;b=c;d=\"e f\"\r\n\r\n", "hello", nil},
		{"blanks in extensions", "5; a = b\t\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"empty extension", "5;\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"bytes above ASCII in extensions", "5;\xe9\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"trailers", "5\r\nhello\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", "hello", nil},

		{"no size", "\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"only an extension", ";a\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"size that is no number", "g\r\nhello\r\n", "", errChunk},
		{"space before the size", " 5\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"space after the size", "5 \r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"tab after the size", "5\t\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"space before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"0x", "0x5\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"plus", "+5\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"minus", "-5\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"underscore", "0_5\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"NUL after the size", "5\x00\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"sixteen digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"the sign bit", "8000000000000000\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"minus one", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"2^64 + 5", "10000000000000005\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"LF after the size", "5\nhello\r\n0\r\n\r\n", "", errChunk},
		{"CR after the size", "5\rhello\r\n0\r\n\r\n", "", errChunk},
		{"LF in an extension", "5;\nhello\r\n0\r\n\r\n", "", errChunk},
		{"CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"two CRs after an extension", "5;a\r\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"NUL in an extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", "", errChunk},
		{"data longer than its size", "5\r\nhelloX\r\n0\r\n\r\n", "hello", errChunk},
		{"data shorter than its size", "7\r\nhello\r\n0\r\n\r\n", "hello\r\n", errChunk},
		{"no CRLF after data", "5\r\nhello0\r\n\r\n", "hello", errChunk},
		{"LF after data", "5\r\nhello\n0\r\n\r\n", "hello", errChunk},
		{"CR after data", "5\r\nhello\r0\r\n\r\n", "hello", errChunk},
		{"any two bytes after data", "5\r\nhelloXX0\r\n\r\n", "hello", errChunk},
		{"LF after the last size", "5\r\nhello\r\n0\n\r\n", "hello", errChunk},
		{"LF at the end", "5\r\nhello\r\n0\r\n\n", "hello", errChunk},
		{"not chunked at all", "hello\r\n\r\n", "", errChunk},

		{"trailer with LF", "0\r\nA: 1\n\r\n", "", errChunk},
		{"trailer without a colon", "0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", "", errTrailerFields},
		{"trailer with a space before the colon", "0\r\nA : 1\r\n\r\n", "", errTrailerFields},
		{"folded trailer", "0\r\nA: 1\r\n 2\r\n\r\n", "", errTrailerFields},
		{"trailer with a NUL", "0\r\nA: \x00\r\n\r\n", "", errTrailerFields},
		{"trailer with a CR", "0\r\nA: 1\r2\r\n\r\n", "", errTrailerFields},

		{"cut before the size", "", "", ErrTruncated},
		{"cut in the size", "5\r\nhello\r\n1", "hello", ErrTruncated},
		{"cut in data", "5\r\nhel", "hel", ErrTruncated},
		{"cut after data", "5\r\nhello", "hello", ErrTruncated},
		{"cut in the CRLF after data", "5\r\nhello\r", "hello", ErrTruncated},
		{"cut before the last size", "5\r\nhello\r\n", "hello", ErrTruncated},
		{"cut before the end", "5\r\nhello\r\n0\r\n", "hello", ErrTruncated},
		{"cut inside the end", "5\r\nhello\r\n0\r\n\r", "hello", ErrTruncated},
		{"cut in a trailer", "0\r\nA: 1\r\n", "", ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := func(how string, wire ...string) {
				b, _ := opened(Chunked, 0, wire...)
				got, err := readAll(b)
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("%s: %q, %v; want %q, %v", how, got, err, c.want, c.err)
				}
				if b.Done() != (c.err == nil) {
					t.Errorf("%s: Done is %v", how, b.Done())
				}
			}
			check("whole", c.wire)
			check("byte by byte", strings.Split(c.wire, "")...)
			for i := range len(c.wire) {
				check(fmt.Sprintf("split at %d", i), c.wire[:i], c.wire[i:])
			}
		})
	}
}

// TestBrokenFramingStaysBroken holds that nothing is read behind an error as if
// it were the next chunk.
func TestBrokenFramingStaysBroken(t *testing.T) {
	for _, broken := range []string{"x\r\n", "5 \r\n", "1\r\naX", "0\r\nA : 1\r\n\r\n", "0\r\nA\n"} {
		b, src := opened(Chunked, 0, broken+"5\r\nhello\r\n0\r\n\r\n")
		_, first := readAll(b)
		left := string(src.Buffered())
		for range 3 {
			p, err := b.Next()
			if p != nil || err != first || err == nil {
				t.Errorf("%q: after %v came %q, %v", broken, first, p, err)
			}
		}
		if b.Done() || b.Complete() || string(src.Buffered()) != left {
			t.Errorf("%q: done %v, complete %v, left %q", broken, b.Done(), b.Complete(), src.Buffered())
		}
	}
}

func TestChunkLimits(t *testing.T) {
	ext := func(n int) string { return "1;" + strings.Repeat("x", n-1) + "\r\na\r\n" }
	for _, c := range []struct {
		name, wire string
		err        error
	}{
		{"one long extension", ext(maxChunkExt) + "0\r\n\r\n", nil},
		{"one too long", ext(maxChunkExt+1) + "0\r\n\r\n", errChunkExt},
		{"one without end", "1;" + strings.Repeat("x", 3*maxChunkExt), errChunkExt},
		{"many short ones", strings.Repeat(ext(64), maxChunkExt/64) + "0\r\n\r\n", nil},
		{"too many short ones", strings.Repeat(ext(64), maxChunkExt/64) + "0;\r\n\r\n", errChunkExt},
		{"size without end", strings.Repeat("0", 2*maxSizeLine), errChunkExt},
		{"trailer section as large as may be", "0\r\n" + trailerOf(maxTrailer) + "\r\n", nil},
		{"a larger one", "0\r\n" + trailerOf(maxTrailer+1) + "\r\n", errTrailerLarge},
		{"many lines of it", "0\r\n" + strings.Repeat("A: 12345\r\n", maxTrailer/10) + "X\r\n\r\n", errTrailerLarge},
		{"trailer without end", "0\r\nA: " + strings.Repeat("x", maxTrailer+10), errTrailerLarge},
		{"trailers as many as may be", "0\r\n" + strings.Repeat("A:\r\n", maxTrailers) + "\r\n", nil},
		{"one more", "0\r\n" + strings.Repeat("A:\r\n", maxTrailers+1) + "\r\n", errTrailerFields},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, wire := range map[string][]string{"whole": {c.wire}, "byte by byte": strings.Split(c.wire, "")} {
				b, _ := opened(Chunked, 0, wire...)
				if _, err := readAll(b); !errors.Is(err, c.err) {
					t.Errorf("%s: %v, want %v", how, err, c.err)
				}
			}
		})
	}
}

// trailerOf is one trailer in n bytes.
func trailerOf(n int) string { return "A: " + strings.Repeat("x", n-5) + "\r\n" }

// TestChunkLineLargerThanBuffer holds that a small buffer is an error, not a loop.
func TestChunkLineLargerThanBuffer(t *testing.T) {
	for wire, want := range map[string]error{
		"1;" + strings.Repeat("x", 200):       errChunkExt,
		"0\r\nA: " + strings.Repeat("x", 200): errTrailerLarge,
	} {
		b, src := opened(Chunked, 0, wire)
		src.Buf = src.Buf[:64]
		if _, err := readAll(b); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

func TestTrailers(t *testing.T) {
	for _, c := range []struct{ name, section, want string }{
		{"none", "", ""},
		{"kept in order", "X-Sum: 1\r\nServer-Timing: a\r\nx-sum:2\r\n", "X-Sum: 1 Server-Timing: a x-sum: 2"},
		{"framing", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "[Content-Length: 5] [Transfer-Encoding: chunked]"},
		{"routing", "Host: evil\r\nMax-Forwards: 1\r\n", "[Host: evil] [Max-Forwards: 1]"},
		{"what we set", "X-Forwarded-For: 1\r\nForwarded: a\r\nVia: b\r\nX-Request-ID: c\r\nX_Real_IP: d\r\n",
			"[X-Forwarded-For: 1] [Forwarded: a] [Via: b] [X-Request-ID: c] [X_Real_IP: d]"},
		{"the connection's", "Connection: close\r\nTE: a\r\nTrailer: b\r\nUpgrade: c\r\n",
			"[Connection: close] [TE: a] [Trailer: b] [Upgrade: c]"},
		{"credentials", "Authorization: a\r\ncookie: b\r\nSet-Cookie: c\r\nWWW-Authenticate: d\r\n",
			"[Authorization: a] [cookie: b] [Set-Cookie: c] [WWW-Authenticate: d]"},
		{"content", "Content-Type: a\r\nContent-Encoding: b\r\nContent_Range: c\r\n",
			"[Content-Type: a] [Content-Encoding: b] [Content_Range: c]"},
		{"conditions", "If-Match: a\r\nIF-RANGE: b\r\nRange: c\r\nIf: d\r\n", "[If-Match: a] [IF-RANGE: b] [Range: c] If: d"},
		{"caching", "Age: 1\r\nDate: a\r\nVary: b\r\nPragma: c\r\nCache-Control: d\r\nETag: e\r\n",
			"[Age: 1] [Date: a] [Vary: b] [Pragma: c] [Cache-Control: d] ETag: e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, src := opened(Chunked, 0, "1\r\na\r\n0\r\n"+c.section+"\r\nnext")
			if _, err := readAll(b); err != nil {
				t.Fatal(err)
			}
			clear(src.Buf) // they are copies
			if got := list(b.Trailers); got != c.want {
				t.Errorf("trailers %q, want %q", got, c.want)
			}
		})
	}
	t.Run("all dropped", func(t *testing.T) {
		b, _ := opened(Chunked, 0, "0\r\nX-Sum: 1\r\n\r\n")
		b.DropTrailers = true
		if _, err := readAll(b); err != nil || list(b.Trailers) != "[X-Sum: 1]" {
			t.Errorf("trailers %q, %v", list(b.Trailers), err)
		}
	})
	t.Run("gone with the next body", func(t *testing.T) {
		b, src := opened(Chunked, 0, "0\r\nX-Sum: 1\r\n\r\n")
		b.DropTrailers = true
		if _, err := readAll(b); err != nil {
			t.Fatal(err)
		}
		b.Open(src, NoBody, 0, nil)
		if len(b.Trailers) != 0 || b.DropTrailers {
			t.Errorf("left: %q, %v", list(b.Trailers), b.DropTrailers)
		}
	})
}
