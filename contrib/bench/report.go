package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is what the text and the Markdown report have in common.
type table struct {
	header []string
	rows   [][]string
}

// comparison is which columns a table has, and which ratios.
type comparison struct {
	columns []string
	subject string   // of the ratios
	over    []string // what they are to
}

// beside compares the subject with each of the others.
func (r *results) beside() comparison {
	c := comparison{subject: r.subject()}
	for _, column := range r.columns {
		c.columns = append(c.columns, column.Name)
	}
	if c.subject == "" {
		return c
	}
	for _, other := range r.others() {
		c.over = append(c.over, other.Name)
	}
	return c
}

// onOff compares something on with off.
func onOff(on, off string) comparison {
	return comparison{columns: []string{on, off}, subject: on, over: []string{off}}
}

// ownPairs are what the daemon is compared with itself for.
func ownPairs() []ownPair {
	return []ownPair{
		{what: "its request log", comparison: onOff(logOn, logOff)},
		{what: "limits of every kind", comparison: onOff(limitsOn, limitsOff)},
	}
}

type ownPair struct {
	what string
	comparison
}

// resultTable has a row for each metric, a column for each peer, and the subject's ratio to
// each of the others.
func resultTable(r *results, threads int, c comparison) table {
	t := table{header: append([]string{"median (min–max)"}, c.columns...)}
	for _, name := range c.over {
		t.header = append(t.header, c.subject+" / "+name)
	}
	for _, m := range metrics() {
		if row, any := resultRow(r, threads, m, c); any {
			t.rows = append(t.rows, row)
		}
	}
	return t
}

func resultRow(r *results, threads int, m metric, c comparison) (row []string, any bool) {
	row = []string{m.title + ", " + m.unit}
	for _, name := range c.columns {
		s := r.values[cell{threads, name, m.id}]
		any = any || len(s) > 0
		row = append(row, formatSeries(m, s))
	}
	for _, name := range c.over {
		text := "–"
		if ratio, ok := r.ratio(threads, c.subject, name, m.id); ok && !m.sum {
			text = strconv.FormatFloat(ratio, 'f', 2, 64)
		}
		row = append(row, text)
	}
	return row, any
}

func formatSeries(m metric, s series) string {
	switch len(s) {
	case 0:
		return "–"
	case 1:
		return m.format(s[0])
	}
	return fmt.Sprintf("%s (%s–%s)", m.format(s.median()), m.format(slices.Min(s)), m.format(slices.Max(s)))
}

// goalTable has a row for each goal and a column for each number of threads.
func goalTable(r *results) table {
	t := table{header: []string{"goal"}}
	for _, n := range r.threads {
		t.header = append(t.header, fmt.Sprintf("N = %d", n))
	}
	for _, g := range goals() {
		row := []string{g.text}
		for _, n := range r.threads {
			row = append(row, g.verdict(r, n))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// text aligns the columns with blanks.
func (t table) text() string {
	widths := make([]int, len(t.header))
	lines := append([][]string{t.header}, t.rows...)
	for _, line := range lines {
		for i, s := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var out strings.Builder
	for _, line := range lines {
		var padded strings.Builder
		for i, s := range line {
			padded.WriteString(s + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s)+3))
		}
		out.WriteString(strings.TrimRight(padded.String(), " ") + "\n")
	}
	return out.String()
}

func (t table) markdown() string {
	var out strings.Builder
	line := func(cells []string) { out.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.header)
	out.WriteString("|---" + strings.Repeat("|--:", len(t.header)-1) + "|\n")
	for _, row := range t.rows {
		line(row)
	}
	return out.String()
}

func (r *results) origin() []string {
	lines := []string{
		r.when.Format("2006-01-02 15:04 UTC"),
		fmt.Sprintf("%s, %d CPUs, %s, temporary files %s", r.machine.cpu, r.machine.cpus, r.machine.kernel, r.machine.temp),
	}
	for _, c := range r.columns {
		lines = append(lines, c.Name+": "+c.Version)
	}
	for _, reason := range r.skipped {
		lines = append(lines, "SKIP "+reason)
	}
	return lines
}

func (r *results) heading(threads int) string {
	text := fmt.Sprintf("N = %d", threads)
	if rate := r.rate[threads]; rate > 0 {
		text += fmt.Sprintf(" (half rate: %.0f req/s)", rate)
	}
	return text
}

func textReport(r *results) string {
	var out strings.Builder
	out.WriteString(strings.Join(r.origin(), "\n") + "\n")
	for _, n := range r.threads {
		if t := resultTable(r, n, r.beside()); len(t.rows) > 0 {
			fmt.Fprintf(&out, "\n%s\n\n%s", r.heading(n), t.text())
		}
		for _, pair := range ownPairs() {
			if t := resultTable(r, n, pair.comparison); len(t.rows) > 0 {
				fmt.Fprintf(&out, "\n%s, %s on and off\n\n%s", r.heading(n), pair.what, t.text())
			}
		}
	}
	if r.subject() != "" {
		fmt.Fprintf(&out, "\n%s", goalTable(r).text())
	}
	return out.String()
}

// markdownReport returns RESULTS.md; notes are included as they are.
func markdownReport(r *results, notes string) string {
	var out strings.Builder
	out.WriteString("# Results\n\nWritten by `make bench`; README.md explains the rows. The notes at the end are kept in NOTES.md.\n\n")
	for _, line := range r.origin() {
		out.WriteString("- " + line + "\n")
	}
	out.WriteString("\n![bar plot of the main rows](results.svg)\n")
	for _, n := range r.threads {
		fmt.Fprintf(&out, "\n## %s\n\n%s", r.heading(n), resultTable(r, n, r.beside()).markdown())
		for _, pair := range ownPairs() {
			if t := resultTable(r, n, pair.comparison); len(t.rows) > 0 {
				fmt.Fprintf(&out, "\nThe same build of mtlsproxyd with %s on and off:\n\n%s", pair.what, t.markdown())
			}
		}
	}
	if r.subject() != "" {
		fmt.Fprintf(&out, "\n## Goals\n\n%s", goalTable(r).markdown())
	}
	out.WriteString("\n## Method\n\n")
	for _, sentence := range r.method {
		out.WriteString("- " + sentence + "\n")
	}
	if notes = strings.TrimSpace(notes); notes != "" {
		out.WriteString("\n## Notes\n\n" + notes + "\n")
	}
	return out.String()
}

// method describes a run in the words of its options.
func method(o options) []string {
	return []string{
		"All proxies ran on the same machine, with the load generator and one nginx worker as the upstream; TLS 1.3 with TLS_AES_128_GCM_SHA256 for everybody.",
		"mtlsproxyd ran with its request log (in the temporary directory), metrics and admin socket on; nginx and HAProxy kept no access log. After each load the records written were compared with the requests made: a missing or dropped one fails the run.",
		fmt.Sprintf("%d rounds in alternating order; shown are the medians over the rounds.", o.rounds),
		"N is the number of nginx workers, HAProxy threads, and GOMAXPROCS. With fewer than there are processors, the proxy has N to itself and the load generator and the upstream share the others; otherwise nobody is pinned.",
		"CPU is the time on the CPU of the proxy's processes, kernel included, and until the last record was written.",
		fmt.Sprintf("small: 100-byte answers, closed loop, %d keep-alive connections, %v per round.", o.conns, o.duration),
		fmt.Sprintf("half rate: the same requests at half of nginx's median peak, %v per round; latency counts from the moment a request was due.", o.duration),
		fmt.Sprintf("download and upload: at least %d MiB per round over %d connections, bodies of %d and %d MiB.", o.bulkMiB, bulkConns, fileBytes>>20, uploadBytes>>20),
		fmt.Sprintf("idle: growth of the proportional set size from after a warm-up to %d idle keep-alive connections with one request each, in a fresh process.", o.idle),
		"log: small and half rate again, for one build with its request log on and off, alternating; admin socket and metrics on in both.",
		"limits: small again, for one build whose route has callers by uid, a rate by caller, bounds of exchanges in all and by caller, a queue and a bound of bodies, and that bounds connections by caller, alternating with one that has the defaults only. Nothing is turned away.",
	}
}
