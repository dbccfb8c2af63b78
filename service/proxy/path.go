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

// canonical appends what an eager upstream would make of a path: percent-encoding
// decoded once, backslashes taken for slashes, empty and dot segments resolved (RFC
// 3986 5.2.4) even if parameters follow the dots. It is compared, never sent.
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
		name, _, _ := bytes.Cut(segment, []byte(";"))
		if len(name) == 0 {
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

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
