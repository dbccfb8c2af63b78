package text

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Safe returns s with every character that does not print written as Go would
// escape it. Paths, hosts and messages come from others: a control character, an
// escape sequence or a change of direction in them must not reach a terminal.
func Safe(s string) string {
	for i, r := range s {
		if !safe(r) || invalid(s[i:], r) {
			return escape(s)
		}
	}
	return s
}

func safe(r rune) bool { return strconv.IsPrint(r) }

// invalid tells a byte that is no UTF-8 from a replacement character that is there.
func invalid(s string, r rune) bool {
	if r != utf8.RuneError {
		return false
	}
	_, size := utf8.DecodeRuneInString(s)
	return size == 1
}

func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case invalid(s[i:], r):
			b.WriteString(`\x` + hex(rune(s[i]), 2))
		case safe(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			b.WriteString(`\x` + hex(r, 2))
		case r <= 0xffff:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	return b.String()
}

func hex(r rune, digits int) string {
	s := strconv.FormatUint(uint64(r), 16)
	return strings.Repeat("0", max(0, digits-len(s))) + s
}

// JSON returns the text of a JSON value with every character that does not print
// written as JSON escapes it. The value stays the same.
func JSON(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == '\n' || r == '\t' || safe(r): // the first two only stand between tokens
			out = append(out, data[:size]...)
		case r > 0xffff:
			high, low := utf16(r)
			out = append(out, `\u`+hex(high, 4)+`\u`+hex(low, 4)...)
		default:
			out = append(out, `\u`+hex(r, 4)...)
		}
		data = data[size:]
	}
	return out
}

// utf16 returns the surrogates of a rune beyond the first plane.
func utf16(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}

// Filter is a writer that passes lines of text on to To, safely. It is for text of
// others that is printed as it is, on a terminal. A character that is split between
// two writes is written as an escape.
type Filter struct {
	To io.Writer
}

// Write implements io.Writer.
func (f Filter) Write(p []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		body, newline := strings.CutSuffix(line, "\n")
		body, _ = strings.CutSuffix(body, "\r")
		for i, part := range strings.Split(body, "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(Safe(part))
		}
		if newline {
			b.WriteByte('\n')
		}
	}
	if _, err := io.WriteString(f.To, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flat returns s on one line: white space of any kind becomes one blank.
func Flat(s string) string {
	return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
}
