package config

import (
	"errors"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML returns the tree of a document, or nil after it has reported why
// there is none.
//
// The document is read twice. toml.Unmarshal knows all rules of TOML (duplicate
// keys, redefined tables) and gives positions of what breaks them, but none for
// values that are fine; the unstable parser gives those, but knows only syntax.
func parseTOML(data []byte, l *layer, ps *problems) *node {
	var ignored map[string]any
	if err := toml.Unmarshal(data, &ignored); err != nil {
		at := origin{layer: l}
		if pos, ok := errors.AsType[*toml.DecodeError](err); ok {
			at.line, _ = pos.Position()
		}
		ps.add(at, "", "", strings.TrimPrefix(err.Error(), "toml: "))
		return nil
	}

	b := builder{layer: l, data: data}
	for i, c := range data {
		if c == '\n' {
			b.newlines = append(b.newlines, i)
		}
	}
	b.p.Reset(data)
	root := newTable(origin{layer: l})
	current := root
	for b.p.NextExpression() {
		switch e := b.p.Expression(); e.Kind {
		case unstable.Table:
			current = b.header(root, e)
		case unstable.ArrayTable:
			current = b.arrayHeader(root, e)
		case unstable.KeyValue:
			b.keyValue(current, e)
		}
	}
	if err := b.p.Error(); err != nil {
		ps.add(origin{layer: l}, "", "", err.Error())
		return nil
	}
	return root
}

// builder makes nodes of a document that toml.Unmarshal has accepted.
type builder struct {
	layer    *layer
	data     []byte
	newlines []int
	p        unstable.Parser
}

func (b *builder) at(n *unstable.Node) origin {
	return origin{layer: b.layer, line: 1 + sort.SearchInts(b.newlines, int(n.Raw.Offset))}
}

// path returns the parts of a dotted key and the place of the first one.
func (b *builder) path(n *unstable.Node) (parts []string, at origin) {
	for it := n.Key(); it.Next(); {
		if parts == nil {
			at = b.at(it.Node())
		}
		parts = append(parts, string(it.Node().Data))
	}
	return parts, at
}

// down returns the table at path below t and makes those that are missing. The
// path through an array of tables leads to its last element.
func down(t *node, path []string, at origin) *node {
	for _, part := range path {
		next := t.kids[part]
		if next == nil {
			next = newTable(at)
			next.implicit = true
			t.put(part, next)
		}
		if next.kind == kindList && len(next.items) > 0 {
			next = next.items[len(next.items)-1]
		}
		t = next
	}
	return t
}

func (b *builder) header(root *node, e *unstable.Node) *node {
	path, at := b.path(e)
	t := down(root, path, at)
	if t.implicit {
		t.at, t.implicit = at, false
	}
	return t
}

func (b *builder) arrayHeader(root *node, e *unstable.Node) *node {
	path, at := b.path(e)
	last := len(path) - 1
	parent := down(root, path[:last], at)
	list := parent.kids[path[last]]
	if list == nil {
		list = &node{kind: kindList, at: at}
		parent.put(path[last], list)
	}
	t := newTable(at)
	list.items = append(list.items, t)
	return t
}

func (b *builder) keyValue(t *node, e *unstable.Node) {
	path, at := b.path(e)
	last := len(path) - 1
	down(t, path[:last], at).put(path[last], b.value(e.Value(), at))
}

// value returns the node of a value; at is the place of its key.
func (b *builder) value(v *unstable.Node, at origin) *node {
	switch v.Kind {
	case unstable.InlineTable:
		t := newTable(at)
		for it := v.Children(); it.Next(); {
			b.keyValue(t, it.Node())
		}
		return t
	case unstable.Array:
		list := &node{kind: kindList, at: at}
		for it := v.Children(); it.Next(); {
			item := it.Node()
			place := at
			// Lists carry no position of their own.
			if item.Raw.Length > 0 {
				place = b.at(item)
			}
			list.items = append(list.items, b.value(item, place))
		}
		return list
	}
	return &node{kind: scalarKind(v.Kind), text: string(v.Data), at: at}
}

func scalarKind(k unstable.Kind) kind {
	switch k {
	case unstable.String:
		return kindString
	case unstable.Integer:
		return kindInteger
	case unstable.Bool:
		return kindBool
	}
	return kindOther
}

// parseValue returns the node of one value that stands alone, as in a variable
// or flag: as TOML if it is TOML, or else as a string.
func parseValue(text string, l *layer) *node {
	var quiet problems
	doc := parseTOML([]byte("v="+text), l, &quiet)
	// A line break could smuggle in further keys; then it is just a string.
	if doc == nil || len(doc.order) != 1 || doc.kids["v"] == nil {
		return &node{kind: kindString, text: text, at: origin{layer: l}, loose: true}
	}
	v := doc.kids["v"]
	v.loosen()
	return v
}

// loosen drops the line of a one-line document and lets scalars be strings.
func (n *node) loosen() {
	n.at.line = 0
	n.loose = n.kind > kindList
	for _, kid := range n.kids {
		kid.loosen()
	}
	for _, item := range n.items {
		item.loosen()
	}
}
