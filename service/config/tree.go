package config

import (
	"fmt"
	"strconv"
	"strings"
)

// layer is one source of values: a file, a variable, a flag.
type layer struct {
	order   int    // position among all layers, for sorting problems
	file    string // the file, or "" for the others
	label   string // "environment X", "--set x.y", "--cert"; "" for files
	address string // the key that a variable or flag sets, as in Setting.Key
	flag    bool   // a flag of its own, not --set: its users may know no tables
	dir     string // directory that relative paths start from, "" for the process's own
	env     func(string) (string, bool)
}

// origin is the place a value came from. The zero origin is the built-in default.
type origin struct {
	*layer
	line int
}

func (o origin) source() string {
	switch {
	case o.layer == nil:
		return "default"
	case o.file != "":
		return o.file
	}
	return o.label
}

// String returns the origin for a Setting: "file:line", or the layer's label.
func (o origin) String() string {
	if o.line > 0 {
		return fmt.Sprintf("%s:%d", o.source(), o.line)
	}
	return o.source()
}

type kind int

const (
	kindTable kind = iota
	kindList
	kindString
	kindInteger
	kindBool
	kindOther // floats and dates: no key wants them
)

// node is a TOML value together with its origin. Nodes, not Go values, are what
// the layers are merged as, so that every later check can still say where.
type node struct {
	kind kind
	text string // string: its value; other scalars: as written
	at   origin

	// A table remembers the order of its keys. An implicit one was made for a
	// key inside it and has no header of its own so far.
	order    []string
	kids     map[string]*node
	implicit bool

	items []*node // of a list

	// loose marks a scalar from a variable or flag, where quotes are easily
	// lost: 1.3 and true are also the strings "1.3" and "true".
	loose bool
}

func newTable(at origin) *node {
	return &node{kind: kindTable, at: at, kids: map[string]*node{}}
}

// put sets a key of a table.
func (n *node) put(key string, v *node) {
	if _, ok := n.kids[key]; !ok {
		n.order = append(n.order, key)
	}
	n.kids[key] = v
}

// child returns the value of a key, nil if n is no table or has none.
func (n *node) child(key string) *node {
	if n == nil || n.kind != kindTable {
		return nil
	}
	return n.kids[key]
}

// get follows a dotted path of bare keys down the tables.
func (n *node) get(path string) *node {
	for part := range strings.SplitSeq(path, ".") {
		n = n.child(part)
	}
	return n
}

// merge lays src over n; both are tables.
func (n *node) merge(src *node) {
	if n.implicit && !src.implicit {
		n.at, n.implicit = src.at, false
	}
	for _, key := range src.order {
		v := src.kids[key]
		if old := n.kids[key]; old != nil && old.kind == kindTable && v.kind == kindTable {
			old.merge(v)
			continue
		}
		n.put(key, v)
	}
}

// asString returns the string value, or false if n is not one.
func (n *node) asString() (string, bool) {
	return n.text, n.kind == kindString || n.loose && n.kind > kindList
}

// shown returns the value as it is quoted in messages.
func (n *node) shown() string {
	switch n.kind {
	case kindTable:
		return "a table"
	case kindList:
		return "a list"
	case kindString:
		return strconv.Quote(n.text)
	}
	return n.text
}

// join puts a key behind a table, either of which may be empty.
func join(table, key string) string {
	if table == "" || key == "" {
		return table + key
	}
	return table + "." + key
}

// keyText returns one part of a key as it is written in TOML: bare if possible.
func keyText(part string) string {
	if part != "" && strings.Trim(part, bareKey) == "" {
		return part
	}
	return quote(part)
}

const bareKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// quote returns s as a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quoteList returns the strings as a TOML array.
func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
