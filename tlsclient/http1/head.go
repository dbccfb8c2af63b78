package http1

import "bytes"

// Limits bound what a head may hold. The zero value is not useful; see
// DefaultLimits.
type Limits struct {
	Head   int // bytes of the whole head
	Fields int // number of field lines
	Target int // bytes of a request target
}

// DefaultLimits returns 64 KiB in 100 fields, with a target of 16 KiB.
func DefaultLimits() Limits {
	return Limits{Head: 64 << 10, Fields: 100, Target: 16 << 10}
}

// FindHead looks for the end of the head at the start of b. It returns the
// head's length with its empty line, or 0 and the offset at which to look again
// once more bytes have come. A line that ends in a bare LF is refused at once.
func FindHead(b []byte, from int) (length, next int, err error) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			// A line that grows byte by byte is not looked through again and again.
			return 0, max(from, len(b)-1), nil
		}
		end := from + i
		if end == 0 || b[end-1] != '\r' {
			return 0, from, errBareLF
		}
		from = end + 1
		if end == 1 || b[end-2] == '\n' {
			return from, from, nil
		}
	}
}

// HeadTooLarge is the error for a head that begins with b and does not end within
// its limit. If not even the first line does, the target is to blame.
func HeadTooLarge(b []byte) *Error {
	if bytes.IndexByte(b, '\n') < 0 {
		return ErrTargetTooLong
	}
	return ErrHeadTooLarge
}

// Framing is how a message's body is delimited, RFC 9112 6.
type Framing uint8

// The framings of a body.
const (
	NoBody Framing = iota
	ByLength
	Chunked
	ByClose // a response that ends with its connection
)

// framingFields gathers what the fields say of a body's framing.
type framingFields struct {
	length               int64
	hasLength, hasCoding bool
}

func (ff *framingFields) contentLength(v []byte) *Error {
	if ff.hasLength {
		return errLengthTwice
	}
	n, ok := parseLength(v)
	if !ok {
		return errLength
	}
	ff.length, ff.hasLength = n, true
	return nil
}

func (ff *framingFields) transferEncoding(v []byte) *Error {
	if ff.hasCoding || !EqualFold(v, "chunked") {
		return errCoding
	}
	ff.hasCoding = true
	return nil
}

func (ff *framingFields) check(minor int) *Error {
	switch {
	case ff.hasCoding && ff.hasLength:
		return errBothFramings
	case ff.hasCoding && minor == 0:
		return errCodingOld
	}
	return nil
}

// parseLength reads 1*DIGIT that fits an int64 with room to spare.
func parseLength(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range v {
		if class[c]&isDigit == 0 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseVersion reads "HTTP/1.x". Any minor version above 1 counts as 1, since it
// must be compatible with it (RFC 9110 2.5).
func parseVersion(v []byte) (minor int, err *Error) {
	if len(v) != len("HTTP/1.1") || string(v[:5]) != "HTTP/" || v[6] != '.' ||
		class[v[5]]&class[v[7]]&isDigit == 0 {
		return 0, errVersion
	}
	if v[5] != '1' {
		return 0, errMajor
	}
	return int(min(v[7]-'0', 1)), nil
}

// maxOptions bounds how many options Connection may have, since each is looked for
// among all fields. Honest senders have two or three.
const maxOptions = 32

// connectionOptions reads Connection fields: what they say of the connection, and
// whether they name other fields as belonging to it.
type connectionOptions struct {
	close, keepAlive, upgrade bool
	names                     bool
	private                   bool // a field is named that is not known to belong to the connection
	count                     int
}

func (o *connectionOptions) read(v []byte) *Error {
	for {
		var elem []byte
		if elem, v = nextElement(v); elem == nil {
			return nil
		}
		if o.count++; o.count > maxOptions {
			return errConnectionLong
		}
		switch {
		case EqualFold(elem, "close"):
			o.close = true
		case EqualFold(elem, "keep-alive"):
			o.keepAlive = true
		case EqualFold(elem, "upgrade"):
			o.upgrade = true
		case !isTokenBytes(elem):
			return errConnection
		default:
			o.names = true
			o.private = o.private || identify(elem) == Other
		}
	}
}

// dropNamed marks the fields that Connection names, RFC 9110 7.6.1.
func dropNamed(fields []Field) {
	for i := range fields {
		if fields[i].ID != Connection {
			continue
		}
		v := fields[i].Value
		for {
			var elem []byte
			if elem, v = nextElement(v); elem == nil {
				break
			}
			for j := range fields {
				if bytes.EqualFold(fields[j].Name, elem) {
					fields[j].Drop = true
				}
			}
		}
	}
}
