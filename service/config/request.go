package config

import (
	"strconv"
	"strings"
)

// The parts of a request that routes match and change.

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	tokenBytes   = alphanumeric + "!#$%&'*+-.^_`|~"   // RFC 9110 5.6.2
	pathBytes    = alphanumeric + "-._~!$&'()*+,;=:@" // RFC 3986 pchar without percent-escapes
)

func isToken(s string) bool { return s != "" && strings.Trim(s, tokenBytes) == "" }

// parsePrefix checks a path prefix. It is strict so that there is one spelling
// of each prefix, and so one answer to the question whether a path is below it.
func parsePrefix(s string) (string, *fault) {
	switch {
	case s[0] != '/':
		return "", wrong("does not start with a slash", `a path such as "/api"`)
	case s == "/":
		return s, nil
	case strings.ContainsAny(s, "?#"):
		return "", wrong("has a query or fragment", "a path only")
	case strings.Contains(s, "%"):
		return "", wrong("has percent-escapes", "a path without any")
	case strings.Contains(s, "//"):
		return "", wrong("has an empty segment", `a path without "//"`)
	case strings.HasSuffix(s, "/"):
		return "", wrong("ends in a slash", strconv.Quote(strings.TrimSuffix(s, "/"))+", which holds for itself and all below it")
	}
	for segment := range strings.SplitSeq(s[1:], "/") {
		switch {
		case segment == "." || segment == "..":
			return "", wrong("has a dot segment", `a path without "." and ".."`)
		case strings.Trim(segment, pathBytes) != "":
			return "", wrong("has a character that no path may have", `letters, digits and -._~!$&'()*+,;=:@`)
		}
	}
	return s, nil
}

func parseMethod(s string) (string, *fault) {
	switch {
	case !isToken(s):
		return "", wrong("not a method", `a token such as "GET"`)
	case s != strings.ToUpper(s):
		return "", wrong("not in upper case: methods differ by case", strconv.Quote(strings.ToUpper(s)))
	case s == "CONNECT" || s == "TRACE":
		return "", wrong("is never forwarded", "another method")
	}
	return s, nil
}

func parseUpgrade(s string) (string, *fault) {
	if s != "websocket" {
		return "", wrong("unknown protocol", `"websocket"`)
	}
	return s, nil
}

func parseHeaderName(s string) (string, *fault) {
	switch {
	case !isToken(s):
		return "", wrong("not a field name", `a token such as "X-Team"`)
	case proxyOwns(s):
		return "", wrong("is a field that the proxy sets itself", "another field")
	}
	return s, nil
}

// proxyOwns reports fields that frame the message or that others trust the
// proxy to have set. Many servers read "_" as "-", so both spellings count.
func proxyOwns(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if strings.HasPrefix(name, "x-forwarded-") {
		return true
	}
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "via", "upgrade", "te", "trailer",
		"keep-alive", "proxy-connection", "proxy-authorization", "proxy", "expect", "forwarded", "x-request-id", "mtlsproxy-error":
		return true
	}
	return false
}

func parseHeaderValue(n *node) (string, *fault) {
	s, ok := n.asString()
	switch {
	case !ok:
		return "", wrong("wrong type", "a string")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", wrong("has a control character", "a value without any")
	case strings.TrimSpace(s) != s:
		return "", wrong("has space at its start or end", "a value without any")
	}
	return s, nil
}
