package main

import (
	"bufio"
	"strconv"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// csvFormat is CSV as RFC 4180 has it. encoding/csv would change line ends within
// fields; here every field but a formula stays what it is.
type csvFormat struct{}

var csvHeader = []string{
	"time", "id", "listener", "caller", "route", "upstream", "endpoint", "method", "host", "path", "status", "class", "fault",
	"bytes_in", "bytes_out", "queue_seconds", "connect_seconds", "first_byte_seconds", "total_seconds",
	"attempts", "reused", "tls", "serial", "generation",
}

func (csvFormat) begin(w *bufio.Writer) error { return say(w, csvLine(csvHeader)) }

func (csvFormat) record(w *bufio.Writer, r *api.Record) error {
	caller := ""
	if r.Caller != nil {
		caller = strconv.FormatUint(uint64(*r.Caller), 10)
	}
	seconds := func(s float64) string { return strconv.FormatFloat(s, 'f', -1, 64) }
	return say(w, csvLine([]string{
		r.Time.UTC().Format(time.RFC3339Nano), r.ID, r.Listener, caller, r.Route, r.Upstream, r.Endpoint, r.Method, r.Host, r.Path,
		strconv.Itoa(r.Status), r.Class, r.Fault, strconv.FormatInt(r.BytesIn, 10), strconv.FormatInt(r.BytesOut, 10),
		seconds(r.Queue), seconds(r.Connect), seconds(r.FirstByte), seconds(r.Total),
		strconv.Itoa(r.Attempts), strconv.FormatBool(r.Reused), r.TLS, r.Serial, strconv.FormatUint(r.Generation, 10),
	}))
}

func csvLine(fields []string) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(csvField(f))
	}
	return b.String() + "\r\n"
}

// csvField is one field. Callers choose much of what is in a record, and whoever
// opens the file in a spreadsheet must not run it: the leading ' makes it text there.
// No number in a record is negative.
func csvField(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		s = "'" + s
	}
	if strings.ContainsAny(s, ",\"\r\n") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
