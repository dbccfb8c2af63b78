package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// Address is where a listener listens.
type Address struct {
	Unix string // path of a unix socket, or "" for TCP
	Host string // TCP: IP address without brackets, host name, or "" for all addresses
	Port uint16 // TCP; 0 lets the kernel choose
}

// Network returns "unix" or "tcp", as net.Listen wants it.
func (a Address) Network() string {
	if a.Unix != "" {
		return "unix"
	}
	return "tcp"
}

// Target returns the address as net.Listen wants it.
func (a Address) Target() string {
	if a.Unix != "" {
		return a.Unix
	}
	return bracket(a.Host) + ":" + strconv.Itoa(int(a.Port))
}

// String returns the address as it is written in the configuration.
func (a Address) String() string {
	if a.Unix != "" {
		return "unix:" + a.Unix
	}
	return a.Target()
}

// Local reports whether only this host can reach the address.
func (a Address) Local() bool {
	if a.Unix != "" || a.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.Unmap().IsLoopback()
}

const addressForms = `"127.0.0.1:8980", "[::1]:8980" or "/run/mtlsproxy/http.sock"`

// maxUnixPath is the room for a path in the kernel's sockaddr_un, without the
// NUL at its end.
const maxUnixPath = 107

func parseAddress(n *node) (Address, *fault) {
	s, unix := strings.CutPrefix(n.text, "unix:")
	if s == "" || s[0] == '@' {
		return unixAddress(s, nil)
	}
	if strings.Contains(s, "://") {
		return Address{}, wrong("is a URL", addressForms)
	}
	if unix || strings.Contains(s, "/") {
		return unixAddress(n.at.path(s))
	}

	host, port, bad := splitPort(s)
	switch {
	case bad != nil:
		return Address{}, bad
	case port == "":
		return Address{}, wrong("no port", addressForms)
	}
	if host != "" {
		if host, bad = parseHostname(host); bad != nil {
			return Address{}, bad
		}
	}
	number, bad := parsePort(port)
	return Address{Host: host, Port: number}, bad
}

func unixAddress(path string, bad *fault) (Address, *fault) {
	switch {
	case bad != nil:
		return Address{}, bad
	case path == "":
		return Address{}, wrong("no path", addressForms)
	case path[0] == '@':
		return Address{}, wrong("is an abstract socket, which has no permissions", addressForms)
	case len(path) > maxUnixPath:
		return Address{}, wrong("path is too long for a unix socket", "at most 107 bytes")
	}
	return Address{Unix: path}, nil
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
