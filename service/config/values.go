package config

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parser makes a value of a string node.
type parser[T any] func(*node) (T, *fault)

// text is a parser that needs to know nothing but the string.
func text[T any](parse func(string) (T, *fault)) parser[T] {
	return func(n *node) (T, *fault) { return parse(n.text) }
}

func str(s string) string { return s }

// store sets *p from one node by parse, or reports what parse finds wrong.
func store[T any](p *T, parse parser[T]) func(*table, string, *node) {
	return func(t *table, key string, n *node) {
		v, bad := parse(n)
		if bad != nil {
			t.fail(key, n, bad)
			return
		}
		*p = v
	}
}

// wantString wraps a parser for nodes that may be of another type.
func wantString[T any](parse parser[T]) parser[T] {
	return func(n *node) (v T, bad *fault) {
		switch s, ok := n.asString(); {
		case !ok:
			return v, wrong("wrong type", "a string")
		case s == "":
			return v, wrong("is empty", "a value")
		}
		return parse(n)
	}
}

// scalar is a string in the file and in the Config.
func scalar(p *string, typ string, parse func(string) (string, *fault)) value {
	return value{typ: typ, set: store(p, wantString(text(parse))), show: showString(p)}
}

func showString(p *string) func() string {
	return func() string {
		if *p == "" {
			return ""
		}
		return quote(*p)
	}
}

// named is a reference to a table.
func named(p *string) value { return scalar(p, "name", parseName) }

func choice(p *string, allowed ...string) value {
	v := scalar(p, "string", func(s string) (string, *fault) {
		if !slices.Contains(allowed, s) {
			return "", wrong("unknown value", oneOf(allowed))
		}
		return s, nil
	})
	v.limits = oneOf(allowed)
	return v
}

// path is the name of a file, made absolute as far as its layer allows.
func path(p *string) value {
	parse := func(n *node) (string, *fault) { return n.at.path(n.text) }
	return value{typ: "path", set: store(p, wantString(parse)), show: showString(p)}
}

// key is the path of a private key, or the URI of one that is no file, which is kept as
// it is: what looks like a variable in it is none.
func key(p *string) value {
	parse := func(n *node) (string, *fault) {
		switch {
		case !isURI(n.text):
			return n.at.path(n.text)
		case strings.ContainsFunc(n.text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
			return "", wrong("is a URI with a space or a control character", "a URI such as \"pkcs11:token=a;object=b\"")
		}
		return n.text, nil
	}
	set := func(t *table, key string, n *node) {
		// What stands in a configuration is shown to whoever may look, so the message must
		// not quote it either.
		if query, found := uriQuery(n.text); found && strings.Contains(query, "pin-value") {
			t.report(key, n.at, "holds a PIN (pin-value), which everyone could see who may look at the configuration; name a file that holds it, with pin-source")
			return
		}
		store(p, wantString(parse))(t, key, n)
	}
	return value{typ: "path", limits: "or a URI", set: set, show: showString(p)}
}

// isURI reports whether a key is named by a URI, RFC 3986 3.1, and not by a path. A file
// with such a name can be written "./name".
func isURI(s string) bool {
	scheme, _, found := strings.Cut(s, ":")
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return found && len(scheme) > 1 && strings.ContainsRune(letters, rune(scheme[0])) && strings.Trim(scheme, letters+"0123456789+-.") == ""
}

// uriQuery returns what stands behind the question mark of a URI.
func uriQuery(s string) (string, bool) {
	_, query, found := strings.Cut(s, "?")
	return query, found && isURI(s)
}

// trust is the ca of an identity: a path or the word system.
func trust(i *Identity) value {
	type anchors struct {
		ca     string
		system bool
	}
	parse := func(n *node) (anchors, *fault) {
		if n.text == "system" {
			return anchors{system: true}, nil
		}
		ca, bad := n.at.path(n.text)
		return anchors{ca: ca}, bad
	}
	set := func(t *table, key string, n *node) {
		var a anchors
		store(&a, wantString(parse))(t, key, n)
		i.CA, i.SystemCA = a.ca, a.system
	}
	return value{typ: "path", limits: `or "system"`, set: set, show: func() string {
		switch i.CA {
		case "":
			return `"system"`
		case "system": // a relative path that happens to read like the word
			return `"./system"`
		}
		return quote(i.CA)
	}}
}

func boolean(p *bool) value {
	parse := func(n *node) (bool, *fault) {
		if n.kind != kindBool {
			return false, wrong("wrong type", "true or false")
		}
		return n.text == "true", nil
	}
	return value{typ: "boolean", set: store(p, parse), show: func() string { return strconv.FormatBool(*p) }}
}

func integer(p *int, low, high int) value {
	limits := fmt.Sprintf("%d to %d", low, high)
	parse := func(n *node) (int, *fault) {
		if n.kind != kindInteger {
			return 0, wrong("wrong type", "a whole number from "+limits)
		}
		v, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
		if err != nil || v < int64(low) || v > int64(high) {
			return 0, wrong("out of range", limits)
		}
		return int(v), nil
	}
	return value{typ: "integer", limits: limits, set: store(p, parse), show: func() string { return strconv.Itoa(*p) }}
}

func duration(p *time.Duration, low, high time.Duration) value {
	return durationIn(p, low, high, formatDuration(low)+" to "+formatDuration(high), false)
}

func durationIn(p *time.Duration, low, high time.Duration, limits string, off bool) value {
	parse := func(n *node) (time.Duration, *fault) {
		if _, ok := n.asString(); !ok && n.kind != kindInteger {
			return 0, wrong("wrong type", durationForms)
		}
		d, bad := parseDuration(n.text)
		switch {
		case bad != nil:
			return 0, bad
		case off && d == 0:
			return 0, nil
		case d < low || d > high:
			return 0, wrong("out of range", limits)
		}
		return d, nil
	}
	return value{typ: "duration", limits: limits, set: store(p, parse), show: func() string { return quote(formatDuration(*p)) }}
}

// durationOff is a duration for which 0s means that there is no bound.
func durationOff(p *time.Duration, low, high time.Duration) value {
	limits := formatDuration(low) + " to " + formatDuration(high) + ", or 0s for no bound"
	return durationIn(p, low, high, limits, true)
}

func size(p *int64, low, high int64) value {
	limits := formatSize(low) + " to " + formatSize(high)
	parse := func(n *node) (int64, *fault) {
		if _, ok := n.asString(); !ok && n.kind != kindInteger {
			return 0, wrong("wrong type", sizeForms)
		}
		v, bad := parseSize(n.text)
		switch {
		case bad != nil:
			return 0, bad
		case v < low || v > high:
			return 0, wrong("out of range", limits)
		}
		return v, nil
	}
	return value{typ: "size", limits: limits, set: store(p, parse), show: func() string { return quote(formatSize(*p)) }}
}

// sizeOff is a size for which 0B means that there is no bound.
func sizeOff(p *int64, low, high int64) value {
	v := size(p, low, high)
	limits := v.limits + ", or 0B for no bound"
	set := v.set
	v.limits = limits
	v.set = func(t *table, key string, n *node) {
		if zero, bad := parseSize(n.text); bad == nil && zero == 0 && (n.kind == kindString || n.kind == kindInteger) {
			*p = 0
			return
		}
		set(t, key, n)
	}
	return v
}

func mode(p *fs.FileMode) value {
	parse := func(n *node) (fs.FileMode, *fault) {
		s, ok := n.asString()
		if !ok {
			return 0, wrong("wrong type", `octal digits in quotes such as "0660"`)
		}
		v, err := strconv.ParseUint(s, 8, 32)
		switch {
		case err != nil:
			return 0, wrong("not an octal mode", `"0660" or another mode`)
		case v > 0o777 || v&0o222 == 0:
			return 0, wrong("not the mode of a socket", `"0660" or another mode up to "0777" that lets someone write`)
		}
		return fs.FileMode(v), nil
	}
	return value{typ: "mode", set: store(p, parse), show: func() string {
		if *p == 0 { // no unix sockets
			return ""
		}
		return quote(fmt.Sprintf("%04o", *p))
	}}
}

func tlsVersion(p *uint16) value {
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	const allowed = `"1.2" or "1.3"`
	parse := func(n *node) (uint16, *fault) {
		s, ok := n.asString()
		v := versions[s]
		if !ok || v == 0 {
			return 0, wrong("unknown TLS version", allowed)
		}
		return v, nil
	}
	return value{typ: "string", limits: allowed, set: store(p, parse), show: func() string {
		if *p == tls.VersionTLS13 {
			return `"1.3"`
		}
		return `"1.2"`
	}}
}

// oneOf returns `"a", "b" or "c"`.
func oneOf(allowed []string) string {
	quoted := make([]string, len(allowed))
	for i, s := range allowed {
		quoted[i] = strconv.Quote(s)
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}
