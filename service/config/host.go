package config

import (
	"strconv"
	"strings"
)

// Host is a pattern for the host that a client asks for.
type Host struct {
	// Name is a DNS name in lower case or an IP address without brackets. For
	// a wildcard it is the part behind "*.", and "" for "*", every host.
	Name     string
	Wildcard bool   // one or more labels stand in front of Name
	Port     uint16 // 0 for any port; always 0 for a wildcard
}

// String returns the pattern as it is written in the configuration.
func (h Host) String() string {
	switch {
	case h.Wildcard && h.Name == "":
		return "*"
	case h.Wildcard:
		return "*." + h.Name
	case h.Port != 0:
		return bracket(h.Name) + ":" + strconv.Itoa(int(h.Port))
	}
	return bracket(h.Name)
}

// localHosts are the hosts of a route that names none.
func localHosts() []string { return []string{"localhost", "127.0.0.1", "[::1]"} }

const hostForms = `"billing.local", "billing.local:8980", "*.corp.example" or "*"`

func parseHost(s string) (Host, *fault) {
	if s == "*" {
		return Host{Wildcard: true}, nil
	}
	if strings.ContainsAny(s, "/ ") {
		return Host{}, wrong("not a host", hostForms)
	}
	domain, wildcard := strings.CutPrefix(s, "*.")
	if strings.Contains(domain, "*") {
		return Host{}, wrong(`"*" must be the whole first label`, hostForms)
	}
	name, port, bad := splitPort(domain)
	if bad != nil {
		return Host{}, bad
	}
	if strings.Contains(name, "%") {
		return Host{}, wrong("not a host", "an address without a zone")
	}
	name, bad = parseHostname(name)
	switch {
	case bad != nil:
		return Host{}, bad
	case wildcard && port != "":
		return Host{}, wrong("a wildcard with a port", strconv.Quote("*."+name))
	case wildcard && isIP(name):
		return Host{}, wrong("a wildcard in front of an IP address", hostForms)
	case port == "":
		return Host{Name: name, Wildcard: wildcard}, nil
	}
	number, bad := parsePort(port)
	if bad == nil && number == 0 {
		bad = wrong("port is 0", "1 to 65535")
	}
	return Host{Name: name, Port: number}, bad
}

func parseHostHeader(s string) (string, *fault) {
	if s == HostHeaderUpstream || s == HostHeaderClient {
		return s, nil
	}
	h, bad := parseHost(s)
	if bad == nil && h.Wildcard {
		bad = wrong("is a pattern", "")
	}
	if bad != nil {
		bad.want = `"upstream", "client" or a literal host[:port]`
		return "", bad
	}
	return h.String(), nil
}
