package proxy

import (
	"bytes"
	"errors"
)

// errAboveRoot says that a path climbs out of its own root.
var errAboveRoot = errors.New("the path leads above its root")

// plain reports whether a path means the same to everyone: it has no
// percent-encoding, no empty segment and no segment that begins with a dot.
func plain(path []byte) bool {
	return bytes.IndexByte(path, '%') < 0 && !bytes.Contains(path, []byte("//")) && !bytes.Contains(path, []byte("/."))
}

// canonical appends what the most eager of upstreams would make of a path: all
// percent-encoding decoded, backslashes taken for slashes, empty and dot segments
// resolved (RFC 3986 5.2.4). It is compared, never sent.
func canonical(dst, path []byte) ([]byte, error) {
	start := len(dst)
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			c = unhex(path[i+1])<<4 | unhex(path[i+2])
			i += 2
		}
		if c == '\\' {
			c = '/'
		}
		decoded = append(decoded, c)
	}
	for len(decoded) > 0 {
		decoded = bytes.TrimLeft(decoded, "/")
		end := bytes.IndexByte(decoded, '/')
		if end < 0 {
			end = len(decoded)
		}
		segment := decoded[:end]
		decoded = decoded[end:]
		switch string(segment) {
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
	if len(dst) == start || path[len(path)-1] == '/' {
		dst = append(dst, '/')
	}
	return dst, nil
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
