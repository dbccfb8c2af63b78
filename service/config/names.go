package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxName keeps names short enough for metric labels and log fields.
const maxName = 64

// parseName checks the name of a table or a reference to one.
func parseName(s string) (string, *fault) {
	const others = bareKey + "."
	if s == "" || len(s) > maxName || strings.Trim(s, others) != "" || strings.ContainsRune("._-", rune(s[0])) {
		return "", wrong("not a valid name", `up to 64 letters, digits, "-", "_" and ".", a letter or digit first`)
	}
	return s, nil
}

// parseHostname returns an IP address in its canonical form, or a DNS name in
// lower case and without the dot at its end.
func parseHostname(s string) (string, *fault) {
	if ip, err := netip.ParseAddr(s); err == nil {
		if strings.Trim(ip.Zone(), bareKey+".") != "" {
			return "", wrong("not a host name", "an address with the name of an interface as its zone")
		}
		return ip.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	for i := range len(name) {
		if name[i] >= 0x80 {
			return "", wrong("not a host name", "the ASCII form (xn--…) of an international name")
		}
	}
	labels := strings.Split(name, ".")
	if len(name) > 253 {
		return "", wrong("not a host name", "at most 253 characters")
	}
	for _, label := range labels {
		if !isLabel(label) {
			return "", wrong("not a host name", "letters, digits and - between dots")
		}
	}
	// What ends in a number is read as an IPv4 address by some and as a name by
	// others; two readers who disagree are a hole.
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", wrong("not a host name", "a full IP address, or a name that does not end in a number")
	}
	return name, nil
}

// isLabel allows _ beside the letters of host names: it is in use.
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// splitPort splits host:port or [v6]:port. The port is "" if there is none.
func splitPort(s string) (host, port string, bad *fault) {
	if tail, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok := strings.Cut(tail, "]")
		if !ok || !strings.Contains(host, ":") || rest != "" && rest[0] != ':' || rest == ":" {
			return "", "", wrong("malformed IPv6 address", `"[::1]" or "[::1]:8443"`)
		}
		return host, strings.TrimPrefix(rest, ":"), nil
	}
	host, port, found := strings.Cut(s, ":")
	switch {
	case strings.Contains(port, ":"):
		return "", "", wrong("IPv6 address without brackets", `"[::1]" or "[::1]:8443"`)
	case found && port == "":
		return "", "", wrong("no port after the colon", "a number from 1 to 65535")
	}
	return host, port, nil
}

func parsePort(s string) (uint16, *fault) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '+' {
		return 0, wrong("not a port", "1 to 65535")
	}
	return uint16(port), nil
}

// bracket puts an IPv6 address into brackets.
func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// parseServerName checks a name for SNI and verification.
func parseServerName(s string) (string, *fault) {
	switch {
	case strings.Contains(s, "*"):
		return "", wrong("is a pattern", "the one name to verify")
	case strings.Contains(s, "%"):
		return "", wrong("not a host name", "an address without a zone")
	}
	name, bad := parseHostname(s)
	if bad != nil && strings.Contains(s, ":") {
		bad.want = "a host name without scheme or port"
	}
	return name, bad
}
