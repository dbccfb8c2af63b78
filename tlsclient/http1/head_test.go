package http1

import (
	"bytes"
	"strings"
	"testing"
)

// findHead looks for a head in b as it arrives up to each of the given lengths.
func findHead(b []byte, arrived ...int) (length int, err error) {
	from := 0
	for _, n := range append(arrived, len(b)) {
		if length, from, err = FindHead(b[:n], from); length != 0 || err != nil {
			return length, err
		}
	}
	return 0, nil
}

func TestFindHead(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       int
		bad        bool
	}{
		{"a head", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, false},
		{"a head and more", "A\r\n\r\nB\r\n\r\n", 5, false},
		{"a head and an empty line", "A\r\n\r\n\r\n", 5, false},
		{"an empty line only", "\r\n", 2, false},
		{"CR in a line", "A\rB\r\n\r\n", 7, false},
		{"two CRs at a line's end", "A\r\r\n\r\n", 6, false},
		{"a line of one CR", "A\r\n\r\r\n\r\n", 8, false},
		{"nothing", "", 0, false},
		{"no end of line", "GET / HTTP/1.1", 0, false},
		{"no empty line", "GET / HTTP/1.1\r\nHost: a\r\n", 0, false},
		{"half an empty line", "A\r\n\r", 0, false},
		{"LF first", "\nA\r\n\r\n", 0, true},
		{"LF after the first line", "A\nB\r\n\r\n", 0, true},
		{"LF for the empty line", "A\r\n\n", 0, true},
		{"LF in a later line", "A\r\nB\nC\r\n\r\n", 0, true},
		{"only LFs", "A\n\n", 0, true},
		{"LF behind the head", "A\r\n\r\n\n", 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := func(arrived ...int) {
				n, err := findHead([]byte(c.wire), arrived...)
				if n != c.want || (err != nil) != c.bad {
					t.Errorf("arriving at %v: %d, %v; want %d, bad: %v", arrived, n, err, c.want, c.bad)
				}
			}
			var all []int
			for i := range len(c.wire) {
				all = append(all, i)
				check(i)
				for j := range i {
					check(j, i)
				}
			}
			check(all...)
		})
	}
}

// TestFindHeadIsLinear holds that a head of one line that comes byte by byte costs
// no more than its length.
func TestFindHeadIsLinear(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 1<<20)
	var from, looked int
	for n := range b {
		_, next, err := FindHead(b[:n+1], from)
		if err != nil {
			t.Fatal(err)
		}
		looked += n + 1 - from
		from = next
	}
	if looked > 2*len(b) {
		t.Errorf("%d bytes were looked at for %d", looked, len(b))
	}
}

func TestHeadLimits(t *testing.T) {
	limits := Limits{Head: 200, Fields: 5, Target: 50}
	const rest = " HTTP/1.1\r\nHost: a\r\n\r\n"
	field := func(n int) string { return "A: " + strings.Repeat("x", n) + "\r\n" }
	get, host := "GET / HTTP/1.1\r\n", "Host: a\r\n"
	for _, c := range []struct {
		name, head string
		want       *Error
	}{
		{"target as long as may be", "GET /" + strings.Repeat("a", 49) + rest, nil},
		{"target too long", "GET /" + strings.Repeat("a", 50) + rest, ErrTargetTooLong},
		{"absolute target too long", "GET http://a/" + strings.Repeat("a", 42) + rest, ErrTargetTooLong},
		{"target longer than a head", "GET /" + strings.Repeat("a", 200) + rest, ErrTargetTooLong},
		{"fields as many as may be", get + host + strings.Repeat("A:\r\n", 4) + "\r\n", nil},
		{"one more", get + host + strings.Repeat("A:\r\n", 5) + "\r\n", ErrTooManyFields},
		{"head as large as may be", get + host + field(200-16-9-5-2) + "\r\n", nil},
		{"one byte more", get + host + field(200-16-9-5-2+1) + "\r\n", ErrHeadTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := new(Request).Parse([]byte(c.head), limits); err != c.want {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	for name, c := range map[string]struct {
		head string
		want *Error
	}{
		"response as large as may be":           {"HTTP/1.1 204 \r\n" + field(200-15-5-2) + "\r\n", nil},
		"larger response":                       {"HTTP/1.1 204 \r\n" + field(200-15-5-2+1) + "\r\n", ErrHeadTooLarge},
		"fields as many as a response may have": {"HTTP/1.1 204 \r\n" + strings.Repeat("A:\r\n", 5) + "\r\n", nil},
		"one more of a response":                {"HTTP/1.1 204 \r\n" + strings.Repeat("A:\r\n", 6) + "\r\n", ErrTooManyFields},
	} {
		t.Run(name, func(t *testing.T) {
			if err := new(Response).Parse([]byte(c.head), false, limits); err != c.want {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestHeadTooLarge(t *testing.T) {
	for b, want := range map[string]int{"": 414, "GET /aaaa": 414, "GET / HTTP/1.1\r\nA: b": 431} {
		if err := HeadTooLarge([]byte(b)); err.Status != want {
			t.Errorf("%q: %d, want %d", b, err.Status, want)
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	for _, option := range []string{"x", "close", "keep-alive"} {
		head := func(n int) []byte {
			return []byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade" + strings.Repeat(", "+option, n-2) +
				"\r\nConnection: " + option + strings.Repeat(",", 1000) + "\r\n\r\n")
		}
		if err := new(Request).Parse(head(maxOptions), DefaultLimits()); err != nil {
			t.Errorf("%d options: %v", maxOptions, err)
		}
		if err := new(Request).Parse(head(maxOptions+1), DefaultLimits()); err != errConnectionLong {
			t.Errorf("%d options: %v", maxOptions+1, err)
		}
	}
}

// TestLinesAreNeeded holds what Parse does with what FindHead would not have found.
func TestLinesAreNeeded(t *testing.T) {
	for _, head := range []string{"", "\n", "\r", "GET / HTTP/1.1", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\n\n", "HTTP/1.1 200 OK\r\nA: 1\r\n"} {
		if err := new(Request).Parse([]byte(head), DefaultLimits()); err == nil {
			t.Errorf("request %q is accepted", head)
		}
		if err := new(Response).Parse([]byte(head), false, DefaultLimits()); err == nil {
			t.Errorf("response %q is accepted", head)
		}
	}
}

func TestErrorsAreAnswers(t *testing.T) {
	for err, want := range map[*Error]int{
		errVersion: 400, errMajor: 505, ErrTargetTooLong: 414, ErrHeadTooLarge: 431, ErrTooManyFields: 431, errConnect: 501,
		errTrace: 501, errMethodLong: 501, errExpect: 417, errTrailerLarge: 431, errBothFramings: 400, errChunk: 400,
	} {
		if err.Status != want || err.Error() != err.Reason || err.Reason == "" {
			t.Errorf("%d %q, want %d", err.Status, err.Error(), want)
		}
	}
}
