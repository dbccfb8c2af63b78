package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// list is a list of strings, each parsed alone. One string stands for a list of
// one. An empty list is refused: it reads like "none" where a missing key means
// "all".
func list[T any](p *[]T, typ string, parse parser[T], show func(T) string) value {
	v := listOrEmpty(p, typ, parse, show)
	set := v.set
	v.set = func(t *table, key string, n *node) {
		if n.kind == kindList && len(n.items) == 0 {
			t.report(key, n.at, "is empty; name at least one")
			return
		}
		set(t, key, n)
	}
	return v
}

// listOrEmpty is a list that may be empty.
func listOrEmpty[T any](p *[]T, typ string, parse parser[T], show func(T) string) value {
	set := func(t *table, key string, n *node) {
		items := []*node{n}
		if n.kind == kindList {
			items = n.items
		} else if _, ok := n.asString(); !ok {
			t.fail(key, n, wrong("wrong type", "a list of strings"))
			return
		}
		*p = parseItems(t, key, items, parse, show)
	}
	return value{typ: typ, set: set, show: func() string {
		if *p == nil {
			return ""
		}
		texts := make([]string, len(*p))
		for i, v := range *p {
			texts[i] = show(v)
		}
		return quoteList(texts)
	}}
}

func parseItems[T any](t *table, key string, items []*node, parse parser[T], show func(T) string) []T {
	parsed := make([]T, 0, len(items))
	var seen []string
	for _, item := range items {
		v, bad := wantString(parse)(item)
		if bad != nil {
			t.fail(key, item, bad)
			continue
		}
		// Compared as shown, since two spellings can mean the same.
		text := show(v)
		if slices.Contains(seen, text) {
			t.fail(key, item, wrong("is in the list twice", ""))
			continue
		}
		seen = append(seen, text)
		parsed = append(parsed, v)
	}
	return parsed
}

// headers is a table of field names and their values.
func headers(p *[]Header) value {
	set := func(t *table, key string, n *node) {
		if n.kind != kindTable {
			t.fail(key, n, wrong("wrong type", `a table such as { X-Team = "billing" }`))
			return
		}
		for _, name := range n.order {
			kid := n.kids[name]
			at := join(key, keyText(name))
			if _, bad := parseHeaderName(name); bad != nil {
				t.report(at, kid.at, bad.about(strconv.Quote(name)))
				continue
			}
			v, bad := parseHeaderValue(kid)
			if bad != nil {
				t.fail(at, kid, bad)
				continue
			}
			twice := func(old Header) bool { return strings.EqualFold(old.Name, name) }
			if i := slices.IndexFunc(*p, twice); i >= 0 {
				t.report(at, kid.at, fmt.Sprintf("is set twice: field names do not differ by case (also %q)", (*p)[i].Name))
				continue
			}
			*p = append(*p, Header{Name: name, Value: v})
		}
	}
	return value{typ: "table of strings", set: set, entries: func() []entry {
		var all []entry
		for _, h := range *p {
			all = append(all, entry{name: h.Name, key: keyText(h.Name), text: quote(h.Value)})
		}
		return all
	}}
}
