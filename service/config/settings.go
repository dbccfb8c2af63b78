package config

import (
	"slices"
	"strings"
)

// Setting is one value in effect.
type Setting struct {
	Key    string // "upstream.billing.timeout.connect", as --set takes it
	Value  string // TOML
	Source string // "default", "/etc/mtlsproxy/mtlsproxy.toml:12", "environment MTLSPROXY__…", "--set …", "--cert"

	table string // "upstream.billing"
}

// Settings returns every value in effect and where it came from, in the order of
// [Keys]. Keys that are not set and have no default are left out.
func (c *Config) Settings() []Setting { return slices.Clone(c.settings) }

// TOML returns the settings as a file, each with its source as a comment. It
// loads to an equal Config when it is read from the directory that relative
// paths start from, unless the value of a variable in a path looks like a
// variable itself.
func (c *Config) TOML() string {
	var b strings.Builder
	table := ""
	for _, s := range c.settings {
		if s.table != table {
			if table != "" {
				b.WriteByte('\n')
			}
			table = s.table
			header := "[" + table + "]"
			if strings.HasPrefix(table, "route.") {
				header = "[[route]]"
			}
			b.WriteString(header + "\n")
		}
		b.WriteString(strings.TrimPrefix(s.Key, table+".") + " = " + s.Value + "  # " + printable(s.Source) + "\n")
	}
	return b.String()
}

// settings returns what is in effect in one table.
func (t *table) settings() []Setting {
	var all []Setting
	add := func(key, text string, n *node) {
		var at origin
		if n != nil {
			at = n.at
		}
		all = append(all, Setting{Key: join(t.label, key), Value: text, Source: at.String(), table: t.label})
	}
	for _, f := range t.fields {
		n := t.node.get(f.name)
		if f.value.entries != nil {
			for _, e := range f.value.entries() {
				add(join(f.name, e.key), e.text, n.kids[e.name])
			}
			continue
		}
		if text := f.value.show(); text != "" {
			add(f.name, text, n)
		}
	}
	return all
}
