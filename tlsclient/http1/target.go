package http1

import (
	"bytes"
	"net/netip"
)

// Form is the form of a request target, RFC 9112 3.2.
type Form uint8

// The forms that are accepted.
const (
	Origin   Form = iota // /path?query
	Absolute             // http://host/path?query
	Asterisk             // *, of OPTIONS only
)

// parseTarget checks the target and splits it. For the absolute form it returns
// the authority; path is what an origin-form target would be, possibly empty.
func parseTarget(method, target []byte) (form Form, authority, path []byte, err *Error) {
	switch {
	case len(target) == 0:
		return 0, nil, nil, errTarget
	case target[0] == '/':
		path = target
	case len(target) == 1 && target[0] == '*':
		if string(method) != "OPTIONS" {
			return 0, nil, nil, errTarget
		}
		return Asterisk, nil, target, nil
	default:
		form = Absolute
		if authority, path, err = splitAbsolute(target); err != nil {
			return 0, nil, nil, err
		}
	}
	if !validPathQuery(path) {
		return 0, nil, nil, errTarget
	}
	return form, authority, path, nil
}

func splitAbsolute(target []byte) (authority, path []byte, err *Error) {
	const scheme = "http://"
	if len(target) <= len(scheme) || !EqualFold(target[:len(scheme)], scheme) {
		return nil, nil, errTarget
	}
	rest := target[len(scheme):]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if !validAuthority(rest[:end]) {
		return nil, nil, errTarget
	}
	return rest[:end], rest[end:], nil
}

// validPathQuery checks every character and every percent-encoding. A fragment
// or a second meaning of a character never gets through.
func validPathQuery(b []byte) bool {
	bit := uint8(isPath)
	for i := 0; i < len(b); i++ {
		c := b[i]
		if class[c]&bit == 0 {
			if c != '?' {
				return false
			}
			bit = isQuery
		}
		if c == '%' {
			if i+2 >= len(b) || class[b[i+1]]&class[b[i+2]]&isHex == 0 {
				return false
			}
			i += 2
		}
	}
	return true
}

// validAuthority accepts host [":" port], with the host a name, an IPv4 address
// or an IPv6 address in brackets. User information and percent-encoding are
// refused: they only ever serve to confuse.
func validAuthority(b []byte) bool {
	host, port, ok := SplitAuthority(b)
	if !ok || len(host) == 0 {
		return false
	}
	if port != nil && !validPort(port) {
		return false
	}
	if host[0] == '[' {
		addr, err := netip.ParseAddr(string(host[1 : len(host)-1]))
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	return all(host, isHost)
}

// validPort accepts 1 to 65535 without leading zeros, which would make two ports
// of one for whoever compares text.
func validPort(b []byte) bool {
	n, ok := parseLength(b)
	return ok && b[0] != '0' && n <= 65535
}

// SplitAuthority splits host [":" port] without checking the characters of
// either. An IPv6 address keeps its brackets; port is nil without a colon.
func SplitAuthority(b []byte) (host, port []byte, ok bool) {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return nil, nil, false
		}
		host, b = b[:end+1], b[end+1:]
		if len(b) == 0 {
			return host, nil, true
		}
		return host, b[1:], b[0] == ':'
	}
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return b, nil, true
	}
	return b[:i], b[i+1:], true
}
