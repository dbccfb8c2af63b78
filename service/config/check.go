package config

import (
	"fmt"
	"slices"
	"strings"
)

// world is everything that was decoded, for the checks that need more than one
// value. They leave alone what was reported before.
type world struct {
	listeners  []bound[Listener]
	identities []bound[Identity]
	upstreams  []bound[Upstream]
	routes     []bound[Route]
	limits     bound[Limits]
	log        bound[Log]
	metrics    bound[Metrics]
}

func (w *world) check() {
	w.checkListeners()
	for _, i := range w.identities {
		checkIdentity(i)
	}
	for _, u := range w.upstreams {
		refer(u.table, "identity", u.v.Identity, w.identities)
		checkPool(u)
		checkOutbound(u)
	}
	for _, r := range w.routes {
		refer(r.table, "upstream", r.v.Upstream, w.upstreams)
		w.checkListenerNames(r)
		checkEdits(r.table, "request_headers", r.v.RequestHeaders)
		checkEdits(r.table, "response_headers", r.v.ResponseHeaders)
		if r.v.StripPrefix && r.v.ReplacePrefix != "" {
			r.report("strip_prefix", r.at("strip_prefix"), "excludes replace_prefix; keep one of them")
		}
		checkRouteLimit(r)
	}
	w.checkAmbiguity()
	checkLimits(w.limits)
	checkLog(w.log)
	checkMetrics(w.metrics)
}

// checkIdentity reports what does not go together. The two ways to name a key are not a
// matter of one layer before another: who sets one of them may not know of the other.
func checkIdentity(i bound[Identity]) {
	for _, key := range []string{"cert", "key"} {
		if i.node.get(key) != nil && i.node.get("pkcs12") != nil && !i.bad[key] {
			i.report(key, i.at(key), "excludes pkcs12, which stands in its place; keep one of them")
		}
	}
	if isURI(i.v.Key) && i.v.Passphrase != "" {
		i.report("passphrase_file", i.at("passphrase_file"), "is for files; the key is a URI, which can name its own with pin-source")
	}
}

// refer reports a reference from a table to another that does not exist.
func refer[T any](t *table, key, name string, known []bound[T]) {
	if name == "" || t.bad[key] {
		return
	}
	if names := namesOf(known); !slices.Contains(names, name) {
		t.report(key, t.at(key), fmt.Sprintf("unknown %s %q; %s", key, name, suggest(name, names)))
	}
}

func namesOf[T any](tables []bound[T]) []string {
	var names []string
	for _, t := range tables {
		names = append(names, t.name)
	}
	return names
}

func (w *world) checkListeners() {
	owners := map[string]string{}
	for _, l := range w.listeners {
		unix := false
		for _, a := range l.v.Addresses {
			if a.Unix != "" {
				unix = true
			}
			if !a.Local() && !l.v.AllowRemote {
				l.report("address", l.at("address"), fmt.Sprintf("%q can be reached from other hosts: it takes plain HTTP "+
					"and lends the identity to whoever reaches it; use 127.0.0.1, [::1] or a unix socket, or set allow_remote = true", a))
			}
			if owner := owners[a.String()]; owner != "" && (a.Unix != "" || a.Port != 0) {
				l.report("address", l.at("address"), fmt.Sprintf("%q is an address of listener %q already", a, owner))
			}
			owners[a.String()] = l.v.Name
		}
		if unix || l.bad["address"] {
			continue
		}
		if n := l.node.get("mode"); n != nil {
			l.report("mode", n.at, "is for unix sockets, and this listener has none")
		}
		l.v.Mode = 0
	}
}

// checkListenerNames cannot know the names of listeners that come from elsewhere,
// as all do if the configuration has none.
func (w *world) checkListenerNames(r bound[Route]) {
	if len(w.listeners) == 0 {
		return
	}
	known := namesOf(w.listeners)
	for _, name := range r.v.Listeners {
		if !slices.Contains(known, name) {
			r.report("listener", r.at("listener"), fmt.Sprintf("unknown listener %q; %s", name, suggest(name, known)))
		}
	}
}

func checkPool(u bound[Upstream]) {
	p := &u.v.Pool
	if p.Idle <= p.Max || u.bad["pool.max"] {
		return
	}
	if n := u.node.get("pool.idle"); n != nil {
		u.fail("pool.idle", n, wrong("is more than pool.max", fmt.Sprintf("at most %d", p.Max)))
		return
	}
	p.Idle = p.Max // the default follows
}

func checkLimits(l bound[Limits]) {
	if l.v.TargetBytes <= l.v.HeaderBytes || l.bad["header_bytes"] {
		return
	}
	if n := l.node.get("target_bytes"); n != nil {
		l.fail("target_bytes", n, wrong("is more than header_bytes", "at most "+formatSize(l.v.HeaderBytes)))
		return
	}
	l.v.TargetBytes = l.v.HeaderBytes // the default follows
}

func checkLog(l bound[Log]) {
	most := l.v.MaxSize / 4
	if l.v.SegmentSize <= most || l.bad["max_size"] {
		return
	}
	if n := l.node.get("segment_size"); n != nil {
		l.fail("segment_size", n, wrong("is more than a quarter of max_size", "at most "+formatSize(most)))
		return
	}
	l.v.SegmentSize = most // the default follows
}

func checkMetrics(m bound[Metrics]) {
	for _, a := range m.v.Addresses {
		switch {
		case a.Unix != "":
			m.report("address", m.at("address"), fmt.Sprintf("%q is a unix socket, and metrics are on the admin socket already; want a loopback host:port", a))
		case !a.Local():
			m.report("address", m.at("address"), fmt.Sprintf("%q can be reached from other hosts; want a loopback address such as 127.0.0.1:9980", a))
		}
	}
	if len(m.v.Addresses) > 0 && m.v.TokenFile == "" && len(m.v.Callers) == 0 && !m.bad["token_file"] && !m.bad["callers"] {
		m.report("address", m.at("address"), `needs token_file or callers: say who may fetch; ["any"] lets every local user`)
	}
}

// checkEdits reports fields that are both set and removed. Setting replaces all
// fields of that name, so there is nothing left that removing could mean.
func checkEdits(t *table, key string, edits HeaderEdits) {
	for _, h := range edits.Set {
		same := func(name string) bool { return strings.EqualFold(name, h.Name) }
		if slices.ContainsFunc(edits.Remove, same) {
			t.report(key+".remove", t.at(key+".remove"), fmt.Sprintf("%q is set as well; to set a field replaces it", h.Name))
		}
	}
}
