package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// decode makes a Config of the merged tree.
func decode(root *node) (*Config, error) {
	d := decoder{}
	d.tables(root)
	w := world{
		listeners:  readAll(&d, root, "listener", newListener),
		identities: readAll(&d, root, "identity", newIdentity),
		upstreams:  readAll(&d, root, "upstream", newUpstream),
		routes:     readAll(&d, root, "route", newRoute),
	}
	c := &Config{}
	w.limits = bound[Limits]{d.single(root, "limits", limitsFields(&c.Limits)), &c.Limits}
	d.single(root, "drain", drainFields(&c.Drain))
	w.log = bound[Log]{d.single(root, "log", logFields(&c.Log)), &c.Log}
	d.single(root, "admin", adminFields(&c.Admin))
	w.metrics = bound[Metrics]{d.single(root, "metrics", metricsFields(&c.Metrics)), &c.Metrics}
	d.single(root, "reload", reloadFields(&c.Reload))
	w.check()
	if err := d.err(); err != nil {
		return nil, err
	}
	c.Listeners = values(w.listeners)
	c.Identities = values(w.identities)
	c.Upstreams = values(w.upstreams)
	c.Routes = values(w.routes)
	for _, t := range d.decoded {
		c.settings = append(c.settings, t.settings()...)
	}
	return c, nil
}

// decoder reads tables of the tree and remembers them for the settings.
type decoder struct {
	problems
	decoded []*table
}

// table is one table on its way from nodes to a struct.
type table struct {
	*problems
	label  string // as it stands in messages: "upstream.billing"
	name   string // "billing"; "" for a table of which there is one
	node   *node
	fields []field
	bad    map[string]bool // keys that were reported; further checks leave them alone
}

// bound is a table together with the struct it fills.
type bound[T any] struct {
	*table
	v *T
}

func values[T any](list []bound[T]) []T {
	var all []T
	for _, b := range list {
		all = append(all, *b.v)
	}
	return all
}

// tables reports what stands at the top of a file and does not belong there.
func (d *decoder) tables(root *node) {
	known := []string{"listener", "identity", "upstream", "route", "limits", "drain", "log", "admin", "metrics", "reload"}
	for _, key := range root.order {
		n := root.kids[key]
		switch {
		case !slices.Contains(known, key):
			what := "table"
			if n.kind != kindTable && n.kind != kindList {
				what = "key"
			}
			d.add(n.at, "", "", fmt.Sprintf("unknown %s %q; %s", what, key, suggest(key, known)))
		}
	}
}

// readAll reads all tables of one kind, sorted by name; routes keep their order.
func readAll[T any](d *decoder, root *node, kind string, bind func(string) (*T, []field)) []bound[T] {
	tables := root.kids[kind]
	if tables == nil {
		return nil
	}
	if tables.kind != kindTable {
		d.add(tables.at, kind, "", wrong("wrong type", "a table such as ["+kind+".default]").about(tables.shown()))
		return nil
	}
	names := slices.Clone(tables.order)
	if kind != "route" {
		slices.Sort(names)
	}
	var all []bound[T]
	for _, name := range names {
		n := tables.kids[name]
		if n.kind != kindTable {
			d.add(n.at, kind, keyText(name), wrong("wrong type", "a table such as ["+kind+".default]").about(n.shown()))
			continue
		}
		label := join(kind, keyText(name))
		if kind == "route" {
			label = routeLabel(name)
		}
		if _, bad := parseName(name); bad != nil && !isNameless(name) {
			d.add(n.at, label, "", bad.about(strconv.Quote(name)))
		}
		v, fields := bind(name)
		t := d.read(label, n, fields)
		t.name = name
		all = append(all, bound[T]{t, v})
	}
	return all
}

// single reads a table of which there is one; it may be missing.
func (d *decoder) single(root *node, name string, fields []field) *table {
	n := root.kids[name]
	switch {
	case n == nil:
		n = newTable(origin{})
	case n.kind != kindTable:
		d.add(n.at, name, "", wrong("wrong type", "a table").about(n.shown()))
		n = newTable(origin{})
	}
	return d.read(name, n, fields)
}

func (d *decoder) read(label string, n *node, fields []field) *table {
	t := &table{problems: &d.problems, label: label, node: n, fields: fields, bad: map[string]bool{}}
	t.walk(n, "")
	for _, f := range fields {
		switch {
		case n.get(f.name) != nil:
		case f.required && (f.unless == "" || n.get(f.unless) == nil):
			t.missing(f)
		case f.def != "":
			f.value.set(t, f.name, parseValue(f.def, nil))
		}
	}
	d.decoded = append(d.decoded, t)
	return t
}

// walk sets every field that the table holds and reports the other keys.
func (t *table) walk(n *node, prefix string) {
	for _, part := range n.order {
		kid := n.kids[part]
		key := join(prefix, keyText(part))
		if i := slices.IndexFunc(t.fields, func(f field) bool { return f.name == key }); i >= 0 {
			t.fields[i].value.set(t, key, kid)
			continue
		}
		isParent := func(f field) bool { return strings.HasPrefix(f.name, key+".") }
		switch {
		case !slices.ContainsFunc(t.fields, isParent):
			t.unknown(prefix, part, kid)
		case kid.kind != kindTable:
			t.fail(key, kid, wrong("wrong type", "a table"))
		default:
			t.walk(kid, key)
		}
	}
}

// report adds a problem with a key.
func (t *table) report(key string, at origin, text string) {
	t.bad[key] = true
	t.add(at, t.label, key, text)
}

// fail reports what is wrong with the value of a key.
func (t *table) fail(key string, n *node, bad *fault) {
	t.report(key, n.at, bad.about(n.shown()))
}

// at returns the place of a key, or of the table if the key is not there.
func (t *table) at(key string) origin {
	if n := t.node.get(key); n != nil {
		return n.at
	}
	return t.node.at
}

func (t *table) missing(f field) {
	at := t.node.at
	// Whoever uses flags only knows flags.
	if flag := flagFor(join(t.label, f.name)); flag != "" && at.layer != nil && at.flag {
		t.bad[f.name] = true
		t.add(origin{layer: &layer{order: at.order, label: flag}}, "", "", "is missing")
		return
	}
	text := "is missing"
	if f.name == "callers" {
		text = `is missing: say who may use this route; ["any"] lends the upstream's identity to every local user, and must be written out`
	}
	t.report(f.name, at, text)
}

// unknown reports a key that no field has, and the one that was probably meant.
func (t *table) unknown(prefix, part string, n *node) {
	var siblings, deeper []string
	for _, f := range t.fields {
		rest, ok := strings.CutPrefix(f.name, prefix)
		if !ok {
			continue
		}
		if prefix != "" {
			if rest, ok = strings.CutPrefix(rest, "."); !ok {
				continue
			}
		}
		first, _, nested := strings.Cut(rest, ".")
		if !slices.Contains(siblings, first) {
			siblings = append(siblings, first)
		}
		if nested {
			deeper = append(deeper, rest)
		}
	}
	hint := suggest(part, siblings)
	if k := nearest(part, deeper); nearest(part, siblings) == "" && k != "" {
		hint = fmt.Sprintf("did you mean %q?", k)
	}
	t.add(n.at, t.label, prefix, fmt.Sprintf("unknown key %q; %s", part, hint))
}
