package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const envPrefix = "MTLSPROXY__"

// environment lays the MTLSPROXY__TABLE__KEY variables over the tree. They apply
// in the order of their names, so that the outcome does not depend on that of
// the environment.
func (l *loader) environment() {
	var names []string
	for name := range l.env {
		if strings.HasPrefix(name, envPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		y := l.layer(layer{label: "environment " + name, dir: l.Dir})
		parts := strings.Split(strings.ToLower(name[len(envPrefix):]), "__")
		if slices.Contains(parts, "") || len(parts) < 2 {
			l.add(origin{layer: y}, "", "", "not the name of a key, want "+envPrefix+"TABLE__KEY")
			continue
		}
		if !l.foldNames(parts, y) {
			continue
		}
		l.override(parts, l.env[name], y)
	}
}

// override sets one key from the text of a variable or flag.
func (l *loader) override(path []string, text string, y *layer) {
	at := origin{layer: y}
	for i, part := range path {
		if i > 0 {
			y.address += "."
		}
		y.address += keyText(part)
	}
	if !utf8.ValidString(text) {
		l.add(at, "", "", fmt.Sprintf("value is not UTF-8 (got %+q)", text))
		return
	}
	tree := newTable(at)
	last := len(path) - 1
	down(tree, path[:last], at).put(path[last], parseValue(text, y))
	l.root.merge(tree)
	nameAddressed(l.root.child("route"))
}

// foldNames replaces the parts of a variable's name that the user chose by the
// spelling the files use: variables have neither lower case nor dashes. What no
// file has stays in lower case.
func (l *loader) foldNames(parts []string, y *layer) bool {
	switch parts[0] {
	case "listener", "identity", "upstream", "route":
		if !l.foldName(parts[0], &parts[1], y) {
			return false
		}
	}
	if len(parts) == 5 && parts[0] == "route" && parts[3] == "set" {
		parts[4] = strings.ReplaceAll(parts[4], "_", "-")
		if set := l.root.child("route").child(parts[1]).child(parts[2]).child("set"); set != nil {
			for _, field := range set.order {
				if strings.EqualFold(field, parts[4]) {
					parts[4] = field
				}
			}
		}
	}
	return true
}

func (l *loader) foldName(table string, name *string, y *layer) bool {
	tables := l.root.kids[table]
	if tables == nil {
		return true
	}
	var same []string
	for _, known := range tables.order {
		if fold(known) == fold(*name) {
			same = append(same, known)
		}
	}
	switch len(same) {
	case 0:
		return true
	case 1:
		*name = same[0]
		return true
	}
	slices.Sort(same)
	l.add(origin{layer: y}, "", "", fmt.Sprintf("could be any of %s; use --set or a file", strings.Join(same, ", ")))
	return false
}

// fold maps names to what a variable can spell.
func fold(name string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(name))
}
