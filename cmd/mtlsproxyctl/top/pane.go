package top

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
)

// pane is one table of a screen.
type pane struct {
	columns []text.Column
	rows    []row
	none    string // what to say without rows
}

// row is the cells of a line, and by what it is sorted.
type row []value

type value struct {
	text.Cell

	number float64 // NaN: it is sorted by its text
	words  bool
}

func word(s string) value { return value{Cell: text.C(s), words: true} }

func number(n Number, write func(float64) string) value {
	v := value{number: float64(n), Cell: text.Cell{Text: "-"}}
	if !math.IsNaN(v.number) {
		v.Text = write(v.number)
	}
	return v
}

func rate(n Number) value    { return number(n, text.Rate) }
func seconds(n Number) value { return number(n, text.Seconds) }
func amount(n Number) value  { return number(n, text.Bytes[float64]) }
func count(n int) value      { return whole(Number(n)) }

func whole(n Number) value {
	return number(n, func(v float64) string { return fmt.Sprintf("%.0f", v) })
}

// bad marks a number that is best 0.
func (v value) bad(tone text.Tone) value {
	if v.number > 0 {
		v.Tone = tone
	}
	return v
}

// sortBy orders the rows by a column: words up, numbers down.
func (p *pane) sortBy(column int) {
	slices.SortStableFunc(p.rows, func(a, b row) int {
		if a[column].words {
			return strings.Compare(a[column].Text, b[column].Text)
		}
		return compare(a[column].number, b[column].number)
	})
}

// The panes of a screen, in their order, and the column that each is sorted by at
// first.
const (
	routesPane = iota
	upstreamsPane
	certificatesPane
	errorsPane
	panes
)

func firstSort() [panes]int { return [panes]int{1, 1, 2, 0} }

func numeric(title string, drop int) text.Column {
	return text.Column{Title: title, Right: true, Drop: drop}
}

// panesOf makes the tables of a frame.
func (s *Screen) panesOf(f *Frame) [panes]pane {
	return [panes]pane{s.routes(f), s.upstreams(f), s.certificates(f), s.errors(f)}
}

func (s *Screen) routes(f *Frame) pane {
	p := pane{none: "no routes", columns: []text.Column{
		{Title: "ROUTE", Cut: 10}, numeric("REQ/S", 0), numeric("ERR/S", 0), numeric("5XX/S", 4), numeric("NOW", 1),
		numeric("P50", 3), numeric("P95", 0), numeric("P99", 2), numeric("IN/S", 6), numeric("OUT/S", 5),
	}}
	for _, r := range f.Routes {
		p.rows = append(p.rows, row{word(r.Name), rate(r.Requests), rate(r.Errors).bad(text.Bad), rate(r.Fives).bad(text.Bad), whole(r.InFlight),
			seconds(r.P50), seconds(r.P95), seconds(r.P99), amount(r.In), amount(r.Out)})
	}
	return p
}

func (s *Screen) upstreams(f *Frame) pane {
	p := pane{none: "no upstreams", columns: []text.Column{
		{Title: "UPSTREAM", Cut: 10}, numeric("REQ/S", 0), numeric("BUSY", 0), numeric("IDLE", 0), numeric("MAX", 5), numeric("WAITING", 0),
		numeric("NEW/S", 1), numeric("RETRY/S", 2), numeric("FIRST P50", 4), numeric("P95", 3), numeric("UP", 0),
	}}
	for _, u := range f.Upstreams {
		up := value{Cell: text.Cell{Text: fmt.Sprintf("%d/%d", u.Up, u.Endpoints)}, number: float64(u.Up)}
		switch {
		case u.Up == 0:
			up.Tone = text.Bad
		case u.Up < u.Endpoints:
			up.Tone = text.Warn
		}
		p.rows = append(p.rows, row{word(u.Name), rate(u.Requests), count(u.Busy), count(u.Idle), count(u.Max), count(u.Waiting).bad(text.Warn),
			rate(u.Handshakes), rate(u.Retries).bad(text.Warn), seconds(u.FirstByte.P50), seconds(u.FirstByte.P95), up})
	}
	return p
}

// worrying is how many days before its end a certificate is worth a look.
const worrying = 14

func (s *Screen) certificates(f *Frame) pane {
	p := pane{none: "no identities", columns: []text.Column{
		{Title: "IDENTITY", Cut: 10}, {Title: "SUBJECT", Cut: 12}, numeric("DAYS LEFT", 0), {Title: "NOT AFTER", Drop: 1}, {Title: "ERROR", Cut: 12, Maybe: true},
	}}
	for _, c := range f.Certificates {
		// What ends first is what counts most.
		days := value{Cell: text.Cell{Text: "-", Tone: text.Bad}, number: math.Inf(1)}
		notAfter := word("")
		if !math.IsNaN(float64(c.Days)) {
			days = value{Cell: text.Cell{Text: fmt.Sprintf("%.0f", math.Floor(float64(c.Days)))}, number: -float64(c.Days)}
			notAfter = word(c.NotAfter.In(s.Zone).Format("2006-01-02 15:04"))
			switch {
			case c.Days <= 0:
				days.Text, days.Tone = "expired", text.Bad
			case c.Days < worrying:
				days.Tone = text.Warn
			}
		}
		p.rows = append(p.rows, row{word(c.Name), word(c.Subject), days, notAfter, word(c.Error)})
	}
	return p
}

func (s *Screen) errors(f *Frame) pane {
	p := pane{none: "no errors in the last minutes", columns: []text.Column{
		{Title: "LAST ERRORS"}, numeric("STATUS", 0), {Title: "CLASS"}, {Title: "FAULT", Drop: 1}, {Title: "ROUTE", Drop: 2, Cut: 8}, {Title: "REQUEST", Cut: 16},
	}}
	if f.LogError != "" {
		p.none = text.Safe(text.Flat(f.LogError))
	}
	for i := range f.Errors {
		r := &f.Errors[i]
		at := value{Cell: text.Cell{Text: r.Time.In(s.Zone).Format("15:04:05")}, number: float64(r.Time.UnixMilli())}
		status := count(r.Status)
		if r.Status == 0 {
			status.Text = "-" // nothing was answered
		}
		p.rows = append(p.rows, row{at, status, word(r.Class), word(r.Fault), word(r.Route), word(r.Method + " " + r.Host + r.Path)})
	}
	return p
}
