package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Wording: lower case, no full stop, `file:line: [table] key: what is wrong
// (got "x", want y)`. Values are quoted with %q; they are no secrets.

// Errors is everything that is wrong with a configuration, at least one problem,
// sorted by layer (files in the order they are read, environment, flags) and line.
type Errors struct {
	Problems []Problem
}

// Error returns one line per problem.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems, so that errors.Is finds a cause such as
// fs.ErrNotExist.
func (e *Errors) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// Problem is one thing that is wrong.
type Problem struct {
	Source string // the file, or "environment NAME", "--set KEY", "--FLAG"
	Line   int    // in the file, from 1; 0 if there is none
	Table  string // "upstream.billing", "limits", or "" outside tables
	Key    string // path in the table, "timeout.connect", or "" for the table itself
	Text   string // what is wrong

	layer int
	cause error
}

// Error returns the problem as one line without control characters.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	switch {
	case p.Table != "" && p.Key != "":
		fmt.Fprintf(&b, "[%s] %s: ", p.Table, p.Key)
	case p.Table != "":
		fmt.Fprintf(&b, "[%s]: ", p.Table)
	}
	b.WriteString(p.Text)
	return printable(b.String())
}

// Unwrap returns the error of the operating system behind the problem, or nil.
func (p Problem) Unwrap() error { return p.cause }

// printable escapes what must not reach a terminal or split a log line. Most
// text is quoted where it is made; file names and messages of the TOML parser
// are not.
func printable(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafeRune(r) {
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unsafeRune(r rune) bool { return !unicode.IsPrint(r) }

// problems collects while a configuration is loaded.
type problems struct {
	list []Problem
}

// add reports text about a key of a table at the place a value came from.
func (ps *problems) add(at origin, table, key, text string) {
	p := Problem{Source: at.source(), Line: at.line, Table: table, Key: key, Text: text, layer: at.order}
	// A variable or flag that addresses the key names it already.
	if at.line == 0 && at.address != "" && at.address == join(table, key) {
		p.Table, p.Key = "", ""
	}
	ps.list = append(ps.list, p)
}

// err returns the collected problems as *Errors, or nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.Line, b.Line))
	})
	same := func(a, b Problem) bool { return a.Error() == b.Error() }
	return &Errors{Problems: slices.CompactFunc(ps.list, same)}
}

// fault says what is wrong with one value. The value itself is added by the
// place that reports it.
type fault struct {
	what string // "has no unit"
	want string // what would be right, or ""
}

func wrong(what, want string) *fault { return &fault{what: what, want: want} }

// about returns the full text, given the value in printable form.
func (f *fault) about(got string) string {
	if f.want == "" {
		return fmt.Sprintf("%s (got %s)", f.what, got)
	}
	return fmt.Sprintf("%s (got %s, want %s)", f.what, got, f.want)
}
