package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// path returns a path of the configuration with its variables expanded, taken
// relative to the directory of the layer it came from.
func (o origin) path(s string) (string, *fault) {
	s, bad := expand(s, o.env)
	switch {
	case bad != nil:
		return "", bad
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", wrong("has a control character", "a path without any")
	case filepath.IsAbs(s) || o.dir == "" || o.dir == ".":
		return s, nil
	}
	// Not filepath.Join: it would take "a/../b" apart, and a may be a link.
	return strings.TrimSuffix(o.dir, "/") + "/" + s, nil
}

// expand replaces every ${NAME}, once: what a variable holds is not looked at
// again. Any other dollar sign stands for itself.
func expand(s string, env func(string) (string, bool)) (string, *fault) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			return "", wrong("has a malformed variable", "${NAME}")
		}
		value, ok := env(name)
		switch {
		case !ok:
			return "", wrong(fmt.Sprintf("variable %s is not set", name), "")
		case value == "":
			// "${DIR}/key.pem" must not become "/key.pem".
			return "", wrong(fmt.Sprintf("variable %s is empty", name), "")
		}
		b.WriteString(value)
		s = rest
	}
}

func isVariable(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	return s != "" && strings.ContainsRune(letters, rune(s[0])) && strings.Trim(s, letters+"0123456789") == ""
}
