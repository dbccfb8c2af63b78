package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// Sizes of the plot in pixels.
const (
	panelWidth  = 390
	panelHead   = 34
	barPitch    = 20
	barHeight   = 14
	barLeft     = 130
	barMax      = 160
	plotMargin  = 16
	panelsInRow = 2
)

// plotStyle gives both colour schemes; the viewer's preference decides. Bars are told apart
// by their labels, colour only helps.
const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.ground { fill: #ffffff }
.range { stroke: #1f2328; stroke-width: 1.5 }
.bar0 { fill: #0969da } .bar1 { fill: #8c959f } .bar2 { fill: #bf8700 } .bar3 { fill: #8250df }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ground { fill: #0d1117 }
  .range { stroke: #e6edf3 }
  .bar0 { fill: #4493f8 } .bar1 { fill: #6e7681 } .bar2 { fill: #d29922 } .bar3 { fill: #ab7df8 }
}
</style>
`

// bar is one line of a panel.
type bar struct {
	label         string
	class         int
	value, lo, hi float64
}

// panel is the picture of one metric.
type panel struct {
	metric metric
	bars   []bar
}

// plot returns the main rows as an SVG of horizontal bars with the range over the rounds.
func plot(r *results) string {
	var panels []panel
	for _, id := range []string{"small.cpu", "small.rps", "down.cpu", "up.cpu", "rate.p99", "idle.kib"} {
		if p := makePanel(r, metricByID(id)); len(p.bars) > 0 {
			panels = append(panels, p)
		}
	}
	var body strings.Builder
	y := plotMargin
	for row := range slices.Chunk(panels, panelsInRow) {
		height := 0
		for i, p := range row {
			p.draw(&body, plotMargin+i*panelWidth, y)
			height = max(height, panelHead+len(p.bars)*barPitch+plotMargin)
		}
		y += height
	}
	width := 2*plotMargin + panelsInRow*panelWidth
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="benchmark results">`,
		width, y, width, y) + "\n" + plotStyle +
		`<rect class="ground" width="100%" height="100%"/>` + "\n" + body.String() + "</svg>\n"
}

func makePanel(r *results, m metric) panel {
	p := panel{metric: m}
	for _, n := range r.threads {
		for i, c := range r.columns {
			s := r.values[cell{n, c.Name, m.id}]
			if len(s) == 0 {
				continue
			}
			p.bars = append(p.bars, bar{
				label: fmt.Sprintf("%s, N = %d", c.Name, n),
				class: barClass(r, i),
				value: s.median(),
				lo:    slices.Min(s),
				hi:    slices.Max(s),
			})
		}
	}
	return p
}

// barClass gives the subject the accent and the others a colour each.
func barClass(r *results, i int) int {
	if r.columns[i].Name == r.subject() {
		return 0
	}
	others := slices.IndexFunc(r.others(), func(c column) bool { return c.Name == r.columns[i].Name })
	return 1 + others%3
}

func (p panel) draw(out *strings.Builder, x, y int) {
	fmt.Fprintf(out, `<text class="title" x="%d" y="%d">%s, %s</text>`+"\n", x, y+14, html.EscapeString(p.metric.title), p.metric.unit)
	// One bad round must not flatten all bars: a range that reaches far is cut at the edge.
	top := 0.0
	for _, b := range p.bars {
		top = max(top, 1.25*b.value)
	}
	for i, b := range p.bars {
		b.draw(out, p.metric, x, y+panelHead-8+i*barPitch, top)
	}
}

func (b bar) draw(out *strings.Builder, m metric, x, y int, top float64) {
	scale := func(v float64) float64 {
		if top <= 0 {
			return 0
		}
		return min(max(v, 0)/top, 1) * barMax
	}
	left, middle, base := float64(x+barLeft), float64(y)+barHeight/2.0, y+barHeight-3
	fmt.Fprintf(out, `<text x="%d" y="%d">%s</text>`, x, base, html.EscapeString(b.label))
	fmt.Fprintf(out, `<rect class="bar%d" x="%.0f" y="%d" width="%.1f" height="%d"/>`, b.class, left, y, scale(b.value), barHeight)
	if b.hi > b.lo {
		fmt.Fprintf(out, `<line class="range" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, left+scale(b.lo), left+scale(b.hi), middle, middle)
	}
	fmt.Fprintf(out, `<text x="%.1f" y="%d">%s</text>`+"\n", left+scale(b.hi)+6, base, m.format(b.value))
}
