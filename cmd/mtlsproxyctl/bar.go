package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
)

// A bar appears when something takes longer than this, and moves as often.
const barAfter = 200 * time.Millisecond

// bar shows on a terminal how far something is. A nil one shows nothing.
type bar struct {
	to    io.Writer
	page  text.Page // to
	now   func() time.Time
	from  time.Time
	span  time.Duration
	next  time.Time // when it is drawn next
	drawn bool
}

// at moves the bar to a point in time.
func (b *bar) at(t time.Time, count uint64) {
	if b == nil || b.now().Before(b.next) {
		return
	}
	b.next, b.drawn = b.now().Add(barAfter), true
	part := 0.0
	if b.span > 0 {
		part = min(1, max(0, float64(t.Sub(b.from))/float64(b.span)))
	}
	const beside, widest = 26, 60 // room for the numbers, and as much as the eye can use
	width := max(10, min(b.page.Width-beside, widest))
	full := int(part * float64(width))
	line := b.page.Paint(text.Good, strings.Repeat("█", full)) + strings.Repeat("░", width-full)
	fmt.Fprintf(b.to, "\r%s %3.0f %%  %s%s", line, 100*part, text.Number(count, "record"), clearLine)
}

// end takes the bar away.
func (b *bar) end() error {
	if b == nil || !b.drawn {
		return nil
	}
	b.drawn = false
	return say(b.to, "\r"+clearLine)
}
