package proxy

import (
	"bytes"
	"errors"
)

// errAboveRoot says that a path climbs out of its own root.
var errAboveRoot = errors.New("the path leads above its root")

// plain reports whether a path means the same to everyone: it has no percent-encoding, no
// parameters, no empty segment and no segment that begins with a dot.
func plain(path []byte) bool {
	return bytes.IndexByte(path, '%') < 0 && bytes.IndexByte(path, ';') < 0 &&
		!bytes.Contains(path, []byte("//")) && !bytes.Contains(path, []byte("/."))
}

// reading is how an upstream may understand a path.
type reading uint8

const (
	// once decodes percent-encoding once, takes backslashes for slashes, and resolves empty
	// and dot segments, RFC 3986 5.2.4, even if parameters follow the dots.
	once reading = iota
	// eager decodes until there is nothing to decode, as two servers one behind the other
	// do, and drops the parameters of all segments, as servlet containers do.
	eager

	readings
)

// canonical appends a path as it may be read. It is compared, never sent.
func canonical(dst, path []byte, how reading) ([]byte, error) {
	start := len(dst)
	decoded := decode(path)
	for how == eager && bytes.IndexByte(decoded, '%') >= 0 {
		again := decode(decoded)
		if len(again) == len(decoded) {
			break
		}
		decoded = again
	}
	for len(decoded) > 0 {
		decoded = bytes.TrimLeft(decoded, "/")
		end := bytes.IndexByte(decoded, '/')
		if end < 0 {
			end = len(decoded)
		}
		segment := decoded[:end]
		decoded = decoded[end:]
		name, _, _ := bytes.Cut(segment, []byte(";"))
		switch {
		case how == eager:
			segment = name
		case len(name) == 0:
			name = segment
		}
		switch string(name) {
		case "..":
			i := bytes.LastIndexByte(dst[start:], '/')
			if i < 0 {
				return dst, errAboveRoot
			}
			dst = dst[:start+i]
		case ".", "":
		default:
			dst = append(append(dst, '/'), segment...)
		}
	}
	if len(dst) == start || len(path) > 0 && path[len(path)-1] == '/' {
		dst = append(dst, '/')
	}
	return dst, nil
}

// decode takes percent-encoding off once, and turns backslashes round.
func decode(path []byte) []byte {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			hi, ok1 := unhex(path[i+1])
			lo, ok2 := unhex(path[i+2])
			if ok1 && ok2 {
				c = hi<<4 | lo
				i += 2
			}
		}
		if c == '\\' {
			c = '/'
		}
		out = append(out, c)
	}
	return out
}

func unhex(c byte) (digit byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
