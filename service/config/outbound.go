package config

import (
	"net/netip"
	"strings"
)

// via is the URL of an HTTP proxy.
func via(p **Endpoint) value {
	const want = `"http://host:port"; the proxy is spoken to in clear, and what goes through it is TLS`
	parse := func(s string) (*Endpoint, *fault) {
		rest, ok := strings.CutPrefix(s, "http://")
		switch {
		case !ok:
			return nil, wrong("not an http URL", want)
		case strings.Contains(rest, "@"):
			return nil, wrong("holds credentials, which everyone could see who may look at the configuration", "via_credentials_file for them")
		}
		e, bad := parseEndpoint(strings.TrimSuffix(rest, "/"))
		if bad != nil {
			bad.want = want
			return nil, bad
		}
		return &e, nil
	}
	set := func(t *table, key string, n *node) {
		// A password must not be quoted in the message either.
		if s, ok := n.asString(); ok && strings.Contains(s, "@") {
			_, bad := parse(s)
			t.report(key, n.at, bad.what+"; want "+bad.want)
			return
		}
		store(p, wantString(text(parse)))(t, key, n)
	}
	return value{typ: "URL", set: set, show: func() string {
		if *p == nil {
			return ""
		}
		return quote("http://" + (*p).String())
	}}
}

// source is a local IP address.
func source(p *netip.Addr) value {
	parse := func(s string) (netip.Addr, *fault) {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.IsUnspecified() || ip.IsMulticast() {
			return netip.Addr{}, wrong("not an address of this host", `an IP address such as "192.0.2.7"`)
		}
		return ip.Unmap(), nil
	}
	return value{typ: "IP address", set: store(p, wantString(text(parse))), show: func() string {
		if !p.IsValid() {
			return ""
		}
		return quote(p.String())
	}}
}

// parseHealthPath checks a target in origin form, RFC 9112 3.2.1.
func parseHealthPath(s string) (string, *fault) {
	if s[0] != '/' || strings.ContainsFunc(s, notURIByte) || strings.Contains(s, "#") {
		return "", wrong("not a path", `a path in ASCII that begins with "/", such as "/healthz"`)
	}
	return s, nil
}

// checkOutbound reports what does not go together in how an upstream is reached.
func checkOutbound(u bound[Upstream]) {
	b := &u.v.Breaker
	if b.OpenMax < b.OpenMin && !u.bad["breaker.open_min"] && !u.bad["breaker.open_max"] {
		if n := u.node.get("breaker.open_max"); n != nil {
			u.fail("breaker.open_max", n, wrong("is less than breaker.open_min", "at least "+formatDuration(b.OpenMin)))
		} else {
			b.OpenMax = b.OpenMin // the default follows
		}
	}
	if u.v.ViaCredentials != "" && u.v.Via == nil && !u.bad["via"] {
		u.report("via_credentials_file", u.at("via_credentials_file"), "is for via, which is not set")
	}
}
