package config

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is one address of an upstream.
type Endpoint struct {
	Host string // IP address without brackets, or DNS name in lower case
	Port uint16
}

// String returns host:port, with brackets around an IPv6 address.
func (e Endpoint) String() string {
	return bracket(e.Host) + ":" + strconv.Itoa(int(e.Port))
}

func parseEndpoint(s string) (Endpoint, *fault) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return Endpoint{}, endpointURL(scheme, rest)
	}
	host, port, bad := splitPort(s)
	switch {
	case bad != nil:
		return Endpoint{}, bad
	case port == "":
		return Endpoint{}, wrong("no port", "host:port such as "+strconv.Quote(s+":443"))
	case strings.Contains(host, "*"):
		return Endpoint{}, wrong("is a pattern", "the one host to connect to")
	}
	host, bad = parseHostname(host)
	if bad != nil {
		return Endpoint{}, bad
	}
	number, bad := parsePort(port)
	if bad == nil && number == 0 {
		bad = wrong("port is 0", "1 to 65535")
	}
	return Endpoint{Host: host, Port: number}, bad
}

// endpointURL tells someone who wrote a URL what to write.
func endpointURL(scheme, rest string) *fault {
	if scheme != "https" {
		return wrong("is a URL", "host:port; upstreams always speak TLS")
	}
	host, _, _ := strings.Cut(rest, "/")
	if _, port, bad := splitPort(host); bad == nil && port == "" {
		host += ":443"
	}
	return wrong("is a URL; upstreams always speak TLS", strconv.Quote(host))
}

// SAN is a subject alternative name.
type SAN struct {
	Type  string // "dns", "ip", "email" or "uri"
	Value string
}

// String returns the name as it is written in the configuration.
func (s SAN) String() string {
	if s.Type == "uri" {
		return s.Value
	}
	return s.Type + ":" + s.Value
}

func parseSAN(s string) (SAN, *fault) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		scheme, rest = "dns", s
	}
	switch strings.ToLower(scheme) {
	case "uri":
		s = rest
	case "dns":
		name, bad := parseHostname(rest)
		if bad == nil {
			if _, err := netip.ParseAddr(name); err == nil {
				return SAN{}, wrong("is an IP address", strconv.Quote("ip:"+name))
			}
		}
		return SAN{Type: "dns", Value: name}, bad
	case "ip":
		ip, err := netip.ParseAddr(strings.Trim(rest, "[]"))
		if err != nil || ip.Zone() != "" {
			return SAN{}, wrong("not an IP address", `"ip:192.0.2.1" or "ip:2001:db8::1"`)
		}
		return SAN{Type: "ip", Value: ip.Unmap().String()}, nil
	case "email":
		local, domain, ok := strings.Cut(rest, "@")
		if !ok || local == "" || domain == "" || strings.ContainsFunc(rest, notURIByte) || strings.Contains(domain, "@") {
			return SAN{}, wrong("not an email address", `"email:name@example.com"`)
		}
		return SAN{Type: "email", Value: rest}, nil
	}
	u, err := url.Parse(s)
	// A scheme alone is not enough: "billing.internal:8443" has one, too.
	isURI := err == nil && (u.Scheme == "urn" || u.Host != "" && u.Scheme != "")
	if !isURI || strings.ContainsFunc(s, notURIByte) {
		return SAN{}, wrong("not a subject alternative name", `"dns:NAME", "ip:ADDRESS", "email:ADDRESS" or a URI such as "spiffe://corp/billing"`)
	}
	return SAN{Type: "uri", Value: s}, nil
}

func notURIByte(r rune) bool { return r <= ' ' || r >= 0x7f }
