package config

import (
	"fmt"
	"slices"
)

// checkAmbiguity reports every two routes that can match one request without one
// being more specific than the other.
func (w *world) checkAmbiguity() {
	for i, b := range w.routes {
		for _, a := range w.routes[:i] {
			if a.matchBroken() || b.matchBroken() {
				continue
			}
			if host, tie := ties(a.v, b.v); tie {
				b.report("", b.node.at, fmt.Sprintf("matches the same requests as route %q (%s): host %q, path %q; "+
					"give them different hosts, paths, methods or listeners", a.v.Name, a.node.at, host, b.v.Path))
			}
		}
	}
}

// matchBroken reports whether a key that the comparison needs has been reported.
func (t *table) matchBroken() bool {
	return slices.ContainsFunc([]string{"name", "host", "path", "method", "listener"}, func(key string) bool { return t.bad[key] })
}

// ties reports whether two routes are equally specific and overlap, and a host
// for which they do. A more specific key decides before the others are looked
// at, so that only routes that are alike in all of them can tie.
func ties(a, b *Route) (host Host, tie bool) {
	if a.Path != b.Path || !overlap(a.Methods, b.Methods) || !overlap(a.Listeners, b.Listeners) {
		return Host{}, false
	}
	for _, h := range a.Hosts {
		if slices.Contains(b.Hosts, h) {
			return h, true
		}
	}
	return Host{}, false
}

// overlap reports whether two lists share an element, where an empty list is less
// specific than any other and equal to an empty one.
func overlap(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
