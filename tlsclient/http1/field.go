package http1

import (
	"bytes"
	"strings"
)

// Name identifies the fields that mean something to a proxy.
type Name uint8

// The known field names. Other stands for every name not listed.
const (
	Other Name = iota
	Connection
	ContentLength
	Expect
	Forwarded
	Host
	KeepAlive
	MaxForwards
	OwnError // Mtlsproxy-Error, which marks answers of our own
	Proxy    // never sent by honest clients: it becomes HTTP_PROXY in CGI programs
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	TE
	Trailer
	TransferEncoding
	Upgrade
	Via
	XForwarded // any X-Forwarded-…
	XRealIP
	XRequestID
)

// Field is one header or trailer field, RFC 9110 5.
type Field struct {
	Name, Value []byte
	ID          Name
	// Alias is set for a name that is a known one but for what stands in place of
	// the hyphens. CGI and its heirs turn all of "-", "_" and often "." into "_",
	// and take such a field for the real one.
	Alias bool
	// Drop is set for a field that is not to be forwarded: at first for what
	// belongs to the connection it came from, later by whoever routes it.
	Drop bool
}

// identify finds the known name that b, a token, is: without regard to case, and
// with whatever is neither letter nor digit taken for a hyphen.
func identify(b []byte) Name {
	switch len(b) {
	case 2:
		return match(b, "te", TE)
	case 3:
		return match(b, "via", Via)
	case 4:
		return match(b, "host", Host)
	case 5:
		return match(b, "proxy", Proxy)
	case 6:
		return match(b, "expect", Expect)
	case 7:
		if b[0]|0x20 == 't' {
			return match(b, "trailer", Trailer)
		}
		return match(b, "upgrade", Upgrade)
	case 9:
		if b[0]|0x20 == 'f' {
			return match(b, "forwarded", Forwarded)
		}
		return match(b, "x-real-ip", XRealIP)
	case 10:
		if b[0]|0x20 == 'c' {
			return match(b, "connection", Connection)
		}
		return match(b, "keep-alive", KeepAlive)
	case 12:
		if b[0]|0x20 == 'm' {
			return match(b, "max-forwards", MaxForwards)
		}
		return match(b, "x-request-id", XRequestID)
	}
	return identifyLong(b)
}

func identifyLong(b []byte) Name {
	if len(b) < len("x-forwarded-x") {
		return Other
	}
	switch b[0] | 0x20 {
	case 'm':
		return match(b, "mtlsproxy-error", OwnError)
	case 'x':
		return match(b[:12], "x-forwarded-", XForwarded)
	case 'c':
		return match(b, "content-length", ContentLength)
	case 't':
		return match(b, "transfer-encoding", TransferEncoding)
	case 'p':
		switch len(b) {
		case 16:
			return match(b, "proxy-connection", ProxyConnection)
		case 18:
			return match(b, "proxy-authenticate", ProxyAuthenticate)
		case 19:
			return match(b, "proxy-authorization", ProxyAuthorization)
		}
	}
	return Other
}

func match(b []byte, lower string, id Name) Name {
	if Alike(b, lower) {
		return id
	}
	return Other
}

// Fold is the form of a name that Alike compares with: lower case, and a hyphen for
// whatever is neither letter nor digit.
func Fold(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c > 0x7f || class[c]&isAlnum == 0:
			return '-'
		}
		return c
	}, name)
}

// Alike reports whether a reader could take b for the name that was folded to
// lower.
func Alike(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if class[c]&isAlnum != 0 {
			c |= 0x20 // lower case; digits have the bit
		} else {
			c = '-'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// isAlias reports whether a known name is written with anything for a hyphen.
func isAlias(name []byte) bool {
	for _, c := range name {
		if c != '-' && class[c]&isAlnum == 0 {
			return true
		}
	}
	return false
}

// parseFields parses the field lines of a head or trailer section, which ends with
// the empty line, and appends them to dst.
func parseFields(dst []Field, b []byte, limit int) ([]Field, *Error) {
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 1 || b[end-1] != '\r' {
			return dst, errBareLF
		}
		line := b[:end-1]
		b = b[end+1:]
		if len(line) == 0 {
			return dst, nil
		}
		if len(dst) == limit {
			return dst, ErrTooManyFields
		}
		f, err := parseField(line)
		if err != nil {
			return dst, err
		}
		dst = append(dst, f)
	}
}

func parseField(line []byte) (f Field, err *Error) {
	if line[0] == ' ' || line[0] == '\t' {
		return f, errFieldFold
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return f, errFieldColon
	}
	f.Name = line[:colon]
	if !isTokenBytes(f.Name) {
		if colon > 0 && (line[colon-1] == ' ' || line[colon-1] == '\t') {
			return f, errFieldSpace
		}
		return f, errFieldName
	}
	f.Value = trim(line[colon+1:])
	if !all(f.Value, isValue) {
		return f, errFieldValue
	}
	if f.ID = identify(f.Name); f.ID != Other {
		f.Alias = isAlias(f.Name)
	}
	return f, nil
}

// nextElement splits off the first element of a comma-separated list, RFC 9110
// 5.6.1. Empty elements are skipped; elem is nil at the end.
func nextElement(list []byte) (elem, rest []byte) {
	for len(list) > 0 {
		i := bytes.IndexByte(list, ',')
		if i < 0 {
			i = len(list)
		}
		elem = trim(list[:i])
		rest = list[min(i+1, len(list)):]
		if len(elem) > 0 {
			return elem, rest
		}
		list = rest
	}
	return nil, nil
}
