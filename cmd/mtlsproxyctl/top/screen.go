package top

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
)

// Screen is how a frame is drawn.
type Screen struct {
	Page   text.Page
	Height int // in lines; 0: as many as there are
	Zone   *time.Location

	live    bool // there are keys to press
	paused  bool
	trouble string // why the frame is not of now
	pane    int    // the one that keys work on
	sort    [panes]int
	offset  [panes]int
}

// NewScreen makes a screen of a size, with all rows where they are at first.
func NewScreen(page text.Page, height int, zone *time.Location) *Screen {
	return &Screen{Page: page, Height: height, Zone: zone, sort: firstSort()}
}

// Draw makes text of a frame: no line is wider than the page, and there are no more
// lines than its height.
func (s *Screen) Draw(f *Frame) string {
	lines := s.head(f)
	list := s.panesOf(f)
	heights := s.share(&list, len(lines))
	for i := range list {
		if heights[i] >= 0 {
			lines = append(lines, "")
			lines = append(lines, s.drawPane(i, &list[i], heights[i])...)
		}
	}
	if s.Height > 0 {
		lines = lines[:min(len(lines), s.Height)]
	}
	if s.live {
		for len(lines) < s.Height-1 {
			lines = append(lines, "")
		}
		lines = append(lines[:min(len(lines), max(0, s.Height-1))], s.Page.Paint(text.Faint, text.Cut(footer, s.Page.Width)))
	}
	return strings.Join(lines, "\n") + "\n"
}

const footer = "q quit  tab pane  ←→ sort  ↑↓ scroll  p pause  ? help"

// head is what stands above the panes.
func (s *Screen) head(f *Frame) []string {
	state := text.Safe(f.Health.State)
	title := fmt.Sprintf("mtlsproxyd %s: %s, %s for %s", text.Safe(f.Version), state, text.Safe(f.Phase), text.Age(f.Time.Sub(f.Since)))
	clock := f.Time.In(s.Zone).Format(time.TimeOnly)
	if s.paused {
		clock = "paused " + clock
	}
	lines := []string{s.ends(title, clock)}
	if s.trouble != "" {
		lines = append(lines, s.Page.Paint(text.Bad, text.Cut(s.trouble, s.Page.Width)))
	}
	const most = 3 // of many reasons; status has them all
	for i, r := range f.Health.Reasons {
		tone := text.Warn
		if r.State == "failing" {
			tone = text.Bad
		}
		line := fmt.Sprintf("%s: %s: %s", text.Safe(r.State), text.Safe(r.Subject), text.Safe(r.Message))
		if more := len(f.Health.Reasons) - i; i == most-1 && more > 1 {
			line = fmt.Sprintf("and %d more reasons; mtlsproxyctl status prints them", more)
		}
		if i < most {
			lines = append(lines, s.Page.Paint(tone, text.Cut(line, s.Page.Width)))
		}
	}
	t := &f.Total
	return append(lines,
		text.Cut(fmt.Sprintf("%s req/s  %s errors/s  %s in/s  %s out/s  %s in flight  %s", rate(t.Requests).Text, rate(t.Errors).Text,
			amount(t.In).Text, amount(t.Out).Text, whole(t.InFlight).Text, text.Number(f.Connections, "connection")), s.Page.Width),
		text.Cut(fmt.Sprintf("p50 %s  p95 %s  p99 %s  cpu %s  memory %s", seconds(t.P50).Text, seconds(t.P95).Text, seconds(t.P99).Text,
			number(f.CPU, func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }).Text, amount(f.Memory).Text), s.Page.Width))
}

// ends puts one text at each end of a line.
func (s *Screen) ends(left, right string) string {
	width := s.Page.Width
	if width <= 0 {
		return left + "  " + right
	}
	left = text.Cut(left, max(1, width-lipgloss.Width(right)-2))
	return text.Cut(left+strings.Repeat(" ", max(2, width-lipgloss.Width(left)-lipgloss.Width(right)))+right, width)
}

// share gives each pane a number of rows, -1 for none at all: a few for every one,
// then all that it has for the selected one, then the others in turn.
func (s *Screen) share(list *[panes]pane, head int) [panes]int {
	var want, got [panes]int
	for i := range list {
		want[i] = max(1, len(list[i].rows))
	}
	if s.Height <= 0 {
		return want
	}
	const around = 2 // a blank line and the titles
	room := s.Height - head
	if s.live {
		room--
	}
	order := append([]int{s.pane}, remove(s.pane)...)
	for _, i := range order {
		got[i] = -1
		if room > around {
			got[i] = min(want[i], 2, room-around)
			room -= around + got[i]
		}
	}
	for _, i := range order {
		if got[i] >= 0 {
			more := min(want[i]-got[i], room)
			got[i] += more
			room -= more
		}
	}
	return got
}

func remove(pane int) []int {
	var out []int
	for i := range panes {
		if i != pane {
			out = append(out, i)
		}
	}
	return out
}

// drawPane returns the titles of a pane and as many rows as have room.
func (s *Screen) drawPane(i int, p *pane, height int) []string {
	column := min(s.sort[i], len(p.columns)-1)
	p.sortBy(column)
	t := &text.Table{Columns: p.columns}
	if s.live && i == s.pane {
		t.Columns[column].Title += "↓"
	}
	for _, r := range p.rows {
		cells := make([]text.Cell, len(r))
		for j := range r {
			cells[j] = r[j].Cell
		}
		t.Rows = append(t.Rows, cells)
	}
	page, indent, mark := s.Page, "", ""
	if s.live {
		indent, mark = "  ", "> "
		page.Width = max(1, page.Width-len(indent))
	}
	if i != s.pane {
		mark = indent
	}
	l := t.Fit(page)
	lines := []string{mark + l.Titles()}
	if len(t.Rows) == 0 {
		return append(lines, indent+text.Cut(p.none, page.Width))[:min(2, 1+height)]
	}
	s.offset[i] = max(0, min(s.offset[i], len(t.Rows)-height))
	for _, cells := range t.Rows[s.offset[i]:min(len(t.Rows), s.offset[i]+height)] {
		lines = append(lines, indent+l.Line(cells))
	}
	return lines
}
