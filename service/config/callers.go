package config

import (
	"strconv"
	"strings"
)

const peerForms = `"user:NAME", "group:NAME", "uid:1000", "uid:1000-1999", "gid:1000" or "any"`

// parsePeer checks the form of a rule about local users. Whether the user or group
// exists is not known here.
func parsePeer(s string) (string, *fault) {
	if s == CallerAny {
		return s, nil
	}
	form, name, _ := strings.Cut(s, ":")
	ok := false
	switch form {
	case "user", "group":
		ok = isUserName(name)
	case "uid":
		low, high, isRange := strings.Cut(name, "-")
		from, ok1 := parseID(low)
		to, ok2 := parseID(high)
		ok = ok1 && (!isRange || ok2 && from <= to)
	case "gid":
		_, ok = parseID(name)
	}
	if !ok {
		return "", wrong("not a caller", peerForms)
	}
	return s, nil
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	// The highest number stands for "no user", chown(2).
	return uint32(n), err == nil && n < 1<<32-1 && s[0] != '+'
}

// isUserName is as generous as the systems that names come from: directory
// services allow spaces, backslashes and more.
func isUserName(s string) bool {
	if s == "" || len(s) > 256 || strings.TrimSpace(s) != s {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' || r == '/' })
}

// adminAddress is the path of a socket, or the word none.
func adminAddress(p *string) value {
	parse := func(n *node) (string, *fault) {
		if n.text == AdminNone {
			return AdminNone, nil
		}
		a, bad := unixAddress(n.at.path(strings.TrimPrefix(n.text, "unix:")))
		return a.Unix, bad
	}
	return value{typ: "path", limits: `or "` + AdminNone + `"`, set: store(p, wantString(parse)), show: showString(p)}
}
