package config

import (
	"fmt"
	"strings"
)

// nameRoutes turns the [[route]] list of a file into a table by name, so that
// routes merge the way other tables do.
func nameRoutes(root *node, l *layer, ps *problems) {
	routes := root.kids["route"]
	if routes == nil {
		return
	}
	table := newTable(routes.at)
	root.put("route", table)
	if routes.kind != kindList {
		ps.add(routes.at, "route", "", "is not a list: each route starts with [[route]] and has a name")
		return
	}
	for i, r := range routes.items {
		if r.kind != kindTable {
			ps.add(r.at, "route", "", wrong("wrong type", "[[route]] tables").about(r.shown()))
			continue
		}
		key := nameless(l, i)
		if name := r.kids["name"]; name != nil && name.kind == kindString && !isNameless(name.text) {
			key = name.text
			if first := table.kids[key]; first != nil {
				ps.add(name.at, routeLabel(key), "name",
					fmt.Sprintf("is used twice in this file (first in line %d)", first.kids["name"].at.line))
				continue
			}
		}
		table.put(key, r)
	}
}

// nameAddressed gives its name to a route that no file has, only variables or
// flags that address it as route.NAME.key.
func nameAddressed(routes *node) {
	if routes == nil {
		return
	}
	for _, name := range routes.order {
		r := routes.kids[name]
		if r.kind == kindTable && r.kids["name"] == nil && !isNameless(name) {
			r.put("name", &node{kind: kindString, text: name, at: r.at})
		}
	}
}

// A route without a usable name is kept under a key that no route can have, so
// that the rest of it is checked as well.
const namelessMark = "\x00"

func nameless(l *layer, i int) string { return fmt.Sprintf("%s%d/%d", namelessMark, l.order, i) }

func isNameless(key string) bool { return strings.HasPrefix(key, namelessMark) }

func routeLabel(key string) string {
	if isNameless(key) {
		return "[route]"
	}
	return "route." + keyText(key)
}

// routeName checks the name of a route. The key it is addressed by comes first.
func routeName(r *Route) value {
	set := func(t *table, key string, n *node) {
		s, ok := n.asString()
		switch {
		case !ok:
			t.fail(key, n, wrong("wrong type", "a string"))
		case isNameless(r.Name):
			if _, bad := parseName(s); bad != nil {
				t.fail(key, n, bad)
			}
		case s != r.Name:
			t.fail(key, n, wrong("cannot be changed by a later layer", quote(r.Name)))
		}
	}
	return value{typ: "name", set: set, show: func() string { return quote(r.Name) }}
}
