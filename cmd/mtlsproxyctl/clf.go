package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// clfFormat is the Common Log Format, as Apache's mod_log_config writes it:
// https://httpd.apache.org/docs/2.4/mod/mod_log_config.html
type clfFormat struct{ x *control }

func (clfFormat) begin(*bufio.Writer) error { return nil }

func (f clfFormat) record(w *bufio.Writer, r *api.Record) error {
	user, status, size := "-", "-", "-"
	if r.Caller != nil {
		user = strings.ReplaceAll(clfEscape(f.x.caller(r.Caller)), " ", `\x20`)
	}
	if r.Status > 0 {
		status = strconv.Itoa(r.Status)
	}
	if r.BytesOut > 0 {
		size = strconv.FormatInt(r.BytesOut, 10)
	}
	return say(w, fmt.Sprintf("localhost - %s [%s] \"%s %s HTTP/1.1\" %s %s\n", user, r.Time.In(f.x.clock).Format("02/Jan/2006:15:04:05 -0700"),
		clfEscape(r.Method), clfEscape(r.Path), status, size))
}

// clfEscape writes text as Apache does since 2.0.46: quotes and backslashes with a
// backslash, white space as C does, and all else that does not print as \xhh.
func clfEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		case c >= '\b' && c <= '\r' && c != '\f':
			b.WriteString(map[byte]string{'\b': `\b`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\v': `\v`}[c])
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
