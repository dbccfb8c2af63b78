package config

import (
	"crypto/sha256"
	"encoding/hex"
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
	h := sha256.New()
	for _, s := range c.settings {
		h.Write([]byte(s.Key + " = " + s.Value + "\n"))
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
