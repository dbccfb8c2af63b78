package config

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// sets lays the --set table.key=value flags over the tree.
func (l *loader) sets() {
	for _, s := range l.Set {
		path, text, ok := cutSet(s)
		if !ok || len(path) < 2 {
			y := l.layer(layer{label: "--set"})
			l.add(origin{layer: y}, "", "", wrong("not a key and a value", "table.key=value").about(quote(s)))
			continue
		}
		label := make([]string, len(path))
		for i, part := range path {
			label[i] = keyText(part)
		}
		y := l.layer(layer{label: "--set " + strings.Join(label, "."), dir: l.Dir})
		l.override(path, text, y)
	}
}

// cutSet splits a dotted TOML key, whose quoted parts may hold an equals sign,
// from the text behind it.
func cutSet(s string) (path []string, text string, ok bool) {
	for i := range len(s) {
		if s[i] != '=' {
			continue
		}
		if path, ok = parseKey(s[:i]); ok {
			return path, s[i+1:], true
		}
	}
	return nil, "", false
}

func parseKey(s string) (path []string, ok bool) {
	var p unstable.Parser
	p.Reset([]byte(s + "=0"))
	if strings.ContainsAny(s, "#\n") || !p.NextExpression() || p.Expression().Kind != unstable.KeyValue {
		return nil, false
	}
	for it := p.Expression().Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
	}
	return path, true
}
