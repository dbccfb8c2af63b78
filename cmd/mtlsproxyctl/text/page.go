package text

import (
	"strings"

	"charm.land/lipgloss/v2"
)

// Page is what text is printed on.
type Page struct {
	Width int  // in cells; 0: as wide as need be, and nothing is cut
	Color bool // it may have colours
}

// Tone is how text is meant. It only ever repeats what the text says.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Faint
	Strong
)

// Paint gives text its tone.
func (p Page) Paint(t Tone, s string) string {
	if !p.Color || t == Plain || s == "" {
		return s
	}
	style := lipgloss.NewStyle()
	switch t {
	case Good:
		style = style.Foreground(lipgloss.Green)
	case Warn:
		style = style.Foreground(lipgloss.Yellow)
	case Bad:
		style = style.Foreground(lipgloss.Red).Bold(true)
	case Faint:
		style = style.Faint(true)
	case Strong:
		style = style.Bold(true)
	}
	return style.Inline(true).Render(s)
}

// Cut shortens safe text without tones to width cells, with "…" at its end.
// Without a width it stays as it is.
func Cut(s string, width int) string {
	if width <= 0 || lipgloss.Width(s) <= width {
		return s
	}
	var b strings.Builder
	used := 0
	for _, r := range s {
		w := lipgloss.Width(string(r))
		if used+w > width-1 {
			break
		}
		b.WriteRune(r)
		used += w
	}
	return b.String() + "…"
}

// Pad fills text up to width cells, on its left or its right.
func Pad(s string, width int, left bool) string {
	fill := strings.Repeat(" ", max(0, width-lipgloss.Width(s)))
	if left {
		return fill + s
	}
	return s + fill
}
