package config

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Change is a value that differs between two configurations.
type Change struct {
	Key    string
	Old    string // as TOML text; "" if there was none
	New    string // as TOML text; "" if there is none any more
	Source string // of New
}

// Digest identifies what is in effect, wherever it comes from: two configurations
// with the same values have the same one.
func (c *Config) Digest() string {
	lines := make([]string, len(c.settings))
	for i, s := range c.settings {
		lines[i] = s.Key + " = " + s.Value
	}
	slices.Sort(lines) // the order of routes and fields means nothing
	h := sha256.New()
	for _, line := range lines {
		h.Write([]byte(line + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Diff returns what is different in b: first what has gone, then, in the order of
// b, what has changed and come.
func Diff(a, b *Config) []Change {
	var changes []Change
	was := make(map[string]string, len(a.settings))
	for _, s := range a.settings {
		was[s.Key] = s.Value
	}
	is := make(map[string]bool, len(b.settings))
	for _, s := range b.settings {
		is[s.Key] = true
	}
	for _, s := range a.settings {
		if !is[s.Key] {
			changes = append(changes, Change{Key: s.Key, Old: s.Value})
		}
	}
	for _, s := range b.settings {
		if old := was[s.Key]; old != s.Value {
			changes = append(changes, Change{Key: s.Key, Old: old, New: s.Value, Source: s.Source})
		}
	}
	return changes
}
