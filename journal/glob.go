package journal

import (
	"bytes"
	"fmt"
	"strings"
)

// maxPattern bounds a pattern in bytes, and with it the time that a match takes.
const maxPattern = 256

func checkPattern(pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("a pattern of %d bytes is too long; at most %d are taken", len(pattern), maxPattern)
	}
	return nil
}

// A glob is a pattern made ready: * stands for any characters, slashes included, ? for
// one. A match takes time in proportion to the length of the text, whatever stands in it.
type glob struct {
	first, last globPart // at the ends of the text
	whole       bool     // there is no *: first is all
	middle      []globPart
}

// A globPart stands between two *.
type globPart struct {
	text  []byte
	masks *[256][maxPattern / 64]uint64 // nil: no ? is in it
}

// newGlob takes a pattern that checkPattern accepts.
func newGlob(pattern string) *glob {
	parts := strings.Split(pattern, "*")
	g := &glob{first: newGlobPart(parts[0]), whole: len(parts) == 1}
	if g.whole {
		return g
	}
	g.last = newGlobPart(parts[len(parts)-1])
	for _, p := range parts[1 : len(parts)-1] {
		if p != "" {
			g.middle = append(g.middle, newGlobPart(p))
		}
	}
	return g
}

func newGlobPart(text string) globPart {
	p := globPart{text: []byte(text)}
	if !strings.Contains(text, "?") {
		return p
	}
	p.masks = new([256][maxPattern / 64]uint64)
	for c := range p.masks {
		for i, want := range p.text {
			if want == '?' || int(want) == c {
				p.masks[c][i/64] |= 1 << (i % 64)
			}
		}
	}
	return p
}

func (g *glob) match(s []byte) bool {
	if g.whole {
		return len(s) == len(g.first.text) && g.first.begins(s)
	}
	if len(s) < len(g.first.text)+len(g.last.text) || !g.first.begins(s) {
		return false
	}
	s = s[len(g.first.text):]
	end := len(s) - len(g.last.text)
	if !g.last.begins(s[end:]) {
		return false
	}
	s = s[:end]
	for i := range g.middle {
		after := g.middle[i].find(s)
		if after < 0 {
			return false
		}
		s = s[after:]
	}
	return true
}

// begins reports whether s, which is no shorter, begins with the part.
func (p *globPart) begins(s []byte) bool {
	if p.masks == nil {
		return bytes.HasPrefix(s, p.text)
	}
	for i, want := range p.text {
		if want != '?' && want != s[i] {
			return false
		}
	}
	return true
}

// find returns where the part ends that stands first in s, or -1. With a ? in it, bit i
// tells whether the last i+1 bytes are the first of the part (Baeza-Yates and Gonnet,
// "A new approach to text searching", 1992).
func (p *globPart) find(s []byte) int {
	if p.masks == nil {
		at := bytes.Index(s, p.text)
		if at < 0 {
			return -1
		}
		return at + len(p.text)
	}
	var state [maxPattern / 64]uint64
	last := len(p.text) - 1
	for i, c := range s {
		carry := uint64(1)
		for w := range state {
			if w > last/64 {
				break
			}
			next := state[w] >> 63
			state[w] = (state[w]<<1 | carry) & p.masks[c][w]
			carry = next
		}
		if state[last/64]>>(last%64)&1 != 0 {
			return i + 1
		}
	}
	return -1
}
