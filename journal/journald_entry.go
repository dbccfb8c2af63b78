package journal

import (
	"encoding/binary"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Identifier is the SYSLOG_IDENTIFIER of all entries, and that of the units.
const Identifier = "mtlsproxy"

const (
	fieldPrefix   = "MTLS_"
	maxFieldName  = 64        // of journald; longer names are refused
	maxFieldBytes = 256 << 10 // of one value; a stack trace is the longest there is
	maxEntryBytes = 1 << 20   // of all values together; what is beyond is cut
)

// A priority is the severity of an entry, as in syslog(3).
type priority int

const (
	priorityCrit    priority = 2
	priorityErr     priority = 3
	priorityWarning priority = 4
	priorityNotice  priority = 5
	priorityInfo    priority = 6
	priorityDebug   priority = 7
)

// priorityOf maps levels. Those in between count as the next lower one, but for what lies
// halfway between Info and Warn, which is what syslog calls a notice.
func priorityOf(l slog.Level) priority {
	switch {
	case l < slog.LevelInfo:
		return priorityDebug
	case l < slog.LevelInfo+2:
		return priorityInfo
	case l < slog.LevelWarn:
		return priorityNotice
	case l < slog.LevelError:
		return priorityWarning
	case l < slog.LevelError+4:
		return priorityErr
	}
	return priorityCrit
}

// encodeEntry makes an entry in the form that journald takes,
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
func encodeEntry(p priority, message string, ids map[string]string, attrs []Attr) []byte {
	e := entryEncoder{left: maxEntryBytes}
	e.field("MESSAGE", withDetails(message, attrs))
	e.field("PRIORITY", strconv.Itoa(int(p)))
	e.field("SYSLOG_IDENTIFIER", Identifier)
	for _, a := range slices.Backward(attrs) { // the last one holds, as an entry has one id
		if id := ids[a.Value]; id != "" && a.Key == EventAttr {
			e.field("MESSAGE_ID", id)
			break
		}
	}
	for _, a := range attrs {
		e.field(fieldName(a.Key), a.Value)
	}
	return e.data
}

// maxMessage bounds a MESSAGE. Its details are in fields of their own as well.
const maxMessage = 1 << 10

// withDetails adds the attributes to a message, since a plain journalctl shows nothing
// else: what it is about has to be in it.
func withDetails(message string, attrs []Attr) string {
	var b strings.Builder
	b.WriteString(message)
	sep := ": "
	if strings.Contains(message, "\n") {
		return message
	}
	for _, a := range attrs {
		value := a.Value
		if a.Key == EventAttr || value == "" || strings.Contains(value, "\n") { // such as a stack
			continue
		}
		if strings.ContainsAny(value, " \"=") {
			value = strconv.Quote(value)
		}
		if b.Len()+len(sep)+len(a.Key)+1+len(value) > maxMessage {
			break
		}
		b.WriteString(sep + a.Key + "=" + value)
		sep = " "
	}
	return b.String()
}

// appendTime notes when an event happened that journald learns of late, because
// journald's own time is that of the sending.
func appendTime(data []byte, at time.Time) []byte {
	e := entryEncoder{data: data, left: maxEntryBytes}
	e.field(fieldPrefix+"TIME", at.UTC().Format(time.RFC3339Nano))
	return e.data
}

type entryEncoder struct {
	data []byte
	left int // bytes that values may yet take
}

// field appends a field. A value with a line end in it is written with its length, since
// the short form ends with the line; any other bytes may stand in either.
func (e *entryEncoder) field(name, value string) {
	if limit := max(len("…"), min(maxFieldBytes, e.left)); len(value) > limit {
		value = string(appendCut(nil, value, limit))
	}
	e.left = max(0, e.left-len(value))
	e.data = append(e.data, name...)
	if !strings.Contains(value, "\n") {
		e.data = append(e.data, '=')
	} else {
		e.data = append(e.data, '\n')
		e.data = binary.LittleEndian.AppendUint64(e.data, uint64(len(value)))
	}
	e.data = append(e.data, value...)
	e.data = append(e.data, '\n')
}

// fieldName makes the name of a field of an attribute's key: capitals, digits and
// underscores are all that journald takes, and it drops the whole field otherwise.
func fieldName(key string) string {
	name := make([]byte, 0, maxFieldName)
	name = append(name, fieldPrefix...)
	for i := 0; i < len(key) && len(name) < maxFieldName; i++ {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			c = '_'
		}
		name = append(name, c)
	}
	return string(name)
}

// flattenTo appends a as text of up to limit bytes; a group becomes its members.
func flattenTo(to []Attr, prefix string, a slog.Attr, limit int) []Attr {
	value := a.Value.Resolve()
	switch {
	case len(to) >= maxAttrs || a.Equal(slog.Attr{}):
		return to
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			to = flattenTo(to, prefix, member, limit)
		}
		return to
	case value.Kind() == slog.KindTime:
		return append(to, Attr{prefix + a.Key, value.Time().Format(time.RFC3339Nano)})
	}
	text := value.String()
	if len(text) > limit {
		text = string(appendCut(nil, text, limit))
	}
	return append(to, Attr{prefix + a.Key, text})
}
