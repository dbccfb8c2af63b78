package config

import (
	"net/url"
	"slices"
	"strings"
)

// OneUpstream holds the flags that take the place of a file when there is one
// upstream only, or change these entries of a file. Empty fields are left alone.
type OneUpstream struct {
	Listen     []string // --listen: addresses of listener "http"
	Upstream   string   // --upstream: https URL; makes upstream and route "default"
	Cert       string   // --cert: of identity "default"
	Key        string   // --key: of identity "default"
	CA         string   // --ca: of identity "default"
	ServerName string   // --server-name: of upstream "default"
}

func (l *loader) oneUpstream() {
	if l.One == nil {
		return
	}
	l.flag("--listen", []string{"listener", "http", "address"}, l.One.Listen...)
	l.flagText("--cert", []string{"identity", "default", "cert"}, l.One.Cert)
	l.flagText("--key", []string{"identity", "default", "key"}, l.One.Key)
	l.flagText("--ca", []string{"identity", "default", "ca"}, l.One.CA)
	l.flagText("--server-name", []string{"upstream", "default", "server_name"}, l.One.ServerName)
	if l.One.Upstream != "" {
		l.upstreamURL(l.One.Upstream)
	}
}

// upstreamURL makes upstream and route "default". The route says ["any"]: who
// starts the daemon this way has written out that local users get the identity.
func (l *loader) upstreamURL(s string) {
	const flag = "--upstream"
	host, endpoint, bad := splitURL(s)
	if bad != nil {
		y := l.layer(layer{label: flag})
		l.add(origin{layer: y}, "", "", bad.about(quote(s)))
		return
	}
	upstream := []string{"upstream", "default"}
	l.flag(flag, append(upstream, "endpoints"), endpoint)
	l.flagText(flag, append(upstream, "identity"), "default")
	// The identity must exist, even when no flag names a file of it.
	l.flagTable(flag, "identity", "default")

	route := []string{"route", "default"}
	hosts := localHosts()
	if h, bad := parseHost(host); bad == nil && !slices.Contains(hosts, h.String()) {
		hosts = append(hosts, h.String())
	}
	l.flag(flag, append(route, "host"), hosts...)
	l.flag(flag, append(route, "callers"), CallerAny)
	l.flagText(flag, append(route, "upstream"), "default")
}

// splitURL returns the host of an https URL, in brackets if it is IPv6, and the
// endpoint it stands for.
func splitURL(s string) (host, endpoint string, bad *fault) {
	const want = `"https://host[:port]"`
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil:
		return "", "", wrong("not an https URL", want)
	case u.Path != "" && u.Path != "/":
		return "", "", wrong("has a path", want+"; a file can say replace_prefix")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", "", wrong("has a query or fragment", want)
	}
	host, endpoint = bracket(u.Hostname()), u.Host
	if u.Port() == "" {
		endpoint = host + ":443"
	}
	if _, bad := parseEndpoint(endpoint); bad != nil {
		return "", "", bad
	}
	return host, endpoint, nil
}

// flagText sets a key to a string, if there is one.
func (l *loader) flagText(flag string, path []string, text string) {
	if text != "" {
		l.put(flag, path, func(at origin) *node { return &node{kind: kindString, text: text, at: at} })
	}
}

// flag sets a key to a list, if it is not empty.
func (l *loader) flag(flag string, path []string, list ...string) {
	if len(list) == 0 {
		return
	}
	l.put(flag, path, func(at origin) *node {
		n := &node{kind: kindList, at: at}
		for _, s := range list {
			n.items = append(n.items, &node{kind: kindString, text: s, at: at})
		}
		return n
	})
}

func (l *loader) flagTable(flag string, path ...string) {
	l.put(flag, path, newTable)
}

func (l *loader) put(flag string, path []string, value func(origin) *node) {
	y := l.layer(layer{label: flag, flag: true, address: strings.Join(path, "."), dir: l.Dir})
	at := origin{layer: y}
	tree := newTable(at)
	last := len(path) - 1
	down(tree, path[:last], at).put(path[last], value(at))
	l.root.merge(tree)
	nameAddressed(l.root.child("route"))
}

// flagFor returns the flag that would set a key, or "".
func flagFor(key string) string {
	switch key {
	case "identity.default.cert":
		return "--cert"
	case "identity.default.key":
		return "--key"
	case "identity.default.ca":
		return "--ca"
	}
	return ""
}
