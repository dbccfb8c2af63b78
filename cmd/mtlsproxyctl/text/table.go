package text

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
)

// gap stands between two columns.
const gap = 2

// Column is one column of a Table.
type Column struct {
	Title string
	Right bool // numbers stand under each other
	Drop  int  // what is dropped first from a narrow page has the highest; 0 never is
	Cut   int  // its cells may be cut down to this width; 0: never
	Least int  // its width while nothing wider is known; for tables that grow
	Maybe bool // it is left out while all its cells are empty
}

// Cell is safe text with a tone.
type Cell struct {
	Text string
	Tone Tone
}

// C makes a cell of text from anywhere: it is made safe, and one line.
func C(s string) Cell { return Cell{Text: Safe(s)} }

// In gives a cell a tone.
func (c Cell) In(t Tone) Cell { return Cell{c.Text, t} }

// Table is rows of cells under titles.
type Table struct {
	Columns []Column
	Rows    [][]Cell
}

// Row adds a row. It must have a cell for each column.
func (t *Table) Row(cells ...Cell) {
	if len(cells) != len(t.Columns) {
		panic("BUG: a row is not as long as its table is wide")
	}
	t.Rows = append(t.Rows, cells)
}

// String prints the table with its titles, each line ended.
func (t *Table) String(p Page) string {
	l := t.Fit(p)
	var b strings.Builder
	b.WriteString(l.Titles() + "\n")
	for _, row := range t.Rows {
		b.WriteString(l.Line(row) + "\n")
	}
	return b.String()
}

// Layout is how the columns of a table share a page.
type Layout struct {
	page    Page
	columns []Column
	widths  []int // 0: left out
}

// Fit divides the page between the columns. Where it is too narrow, columns of the
// least value go until the others fit when those that may be cut are, and then no
// more is cut than must be, from the widest.
func (t *Table) Fit(p Page) *Layout {
	l := &Layout{page: p, columns: t.Columns, widths: t.natural()}
	if p.Width <= 0 {
		return l
	}
	for l.least() > p.Width {
		i := l.cheapest()
		if i < 0 {
			break
		}
		l.widths[i] = 0
	}
	for l.total() > p.Width {
		i := l.widest()
		if i < 0 {
			break
		}
		l.widths[i]--
	}
	return l
}

func (t *Table) natural() []int {
	out := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		empty := true
		out[i] = max(c.Least, lipgloss.Width(c.Title))
		for _, row := range t.Rows {
			if w := lipgloss.Width(row[i].Text); w > 0 {
				empty = false
				out[i] = max(out[i], w)
			}
		}
		if empty && c.Maybe {
			out[i] = 0
		}
	}
	return out
}

func (l *Layout) sum(width func(i int) int) int {
	total := -gap
	for i := range l.widths {
		if l.widths[i] > 0 {
			total += width(i) + gap
		}
	}
	return total
}

func (l *Layout) total() int { return l.sum(func(i int) int { return l.widths[i] }) }

// least is the width of the table when all that may be cut is.
func (l *Layout) least() int {
	return l.sum(func(i int) int {
		if cut := l.columns[i].Cut; cut > 0 {
			return min(cut, l.widths[i])
		}
		return l.widths[i]
	})
}

// cheapest is the column to drop next, or -1.
func (l *Layout) cheapest() int {
	best := -1
	for i, c := range l.columns {
		if l.widths[i] > 0 && c.Drop > 0 && (best < 0 || c.Drop > l.columns[best].Drop) {
			best = i
		}
	}
	return best
}

// widest is the column to cut next, or -1.
func (l *Layout) widest() int {
	best := -1
	for i, c := range l.columns {
		if c.Cut > 0 && l.widths[i] > c.Cut && (best < 0 || l.widths[i] > l.widths[best]) {
			best = i
		}
	}
	return best
}

// Titles returns the line of titles.
func (l *Layout) Titles() string {
	row := make([]Cell, len(l.columns))
	for i, c := range l.columns {
		row[i] = Cell{c.Title, Faint}
	}
	return l.Line(row)
}

// Line returns a row as a line. Its last cell may use what is left of the page.
func (l *Layout) Line(row []Cell) string {
	last := -1
	for i := range row {
		if l.widths[i] > 0 {
			last = i
		}
	}
	var b strings.Builder
	used := 0
	for i, cell := range row {
		if l.widths[i] == 0 {
			continue
		}
		if used > 0 {
			b.WriteString(strings.Repeat(" ", gap))
			used += gap
		}
		width, content := l.widths[i], cell.Text
		if room := l.page.Width - used; l.page.Width > 0 {
			if room <= 0 {
				break
			}
			width = min(width, room)
			if i != last {
				room = width
			}
			content = Cut(content, room)
		}
		fill := strings.Repeat(" ", max(0, width-lipgloss.Width(content)))
		if painted := l.page.Paint(cell.Tone, content); l.columns[i].Right {
			b.WriteString(fill + painted)
		} else {
			b.WriteString(painted + fill)
		}
		used += max(width, lipgloss.Width(content))
	}
	return strings.TrimRight(b.String(), " ")
}

// Titled returns the titles of the columns that have a place.
func (l *Layout) Titled() []string {
	var out []string
	for i, c := range l.columns {
		if l.widths[i] > 0 {
			out = append(out, c.Title)
		}
	}
	return slices.Clip(out)
}
