package http1

import "bytes"

// Response is a response head. Its slices point into the buffer it was parsed
// from. Parse may be called again on the same value and keeps its storage.
type Response struct {
	Minor  int // of the HTTP version: 0 or 1
	Status int // 100 to 599
	Reason []byte
	Fields []Field

	Framing Framing
	Length  int64 // for ByLength; for a response without a body what Content-Length says, or -1

	Close   bool   // the sender closes the connection after this response
	Upgrade []byte // the protocol switched to, of a proper 101 response
	Private bool   // Connection names fields that may be trailers: see Body.DropTrailers
}

// Parse reads a head as FindHead delimits it. The error is an *Error whose
// Status means nothing. head says whether the request's method was HEAD.
func (r *Response) Parse(b []byte, head bool, limits Limits) *Error {
	*r = Response{Fields: r.Fields[:0], Length: -1}
	if len(b) > limits.Head {
		return ErrHeadTooLarge
	}
	end := bytes.IndexByte(b, '\n')
	if end < 1 || b[end-1] != '\r' {
		return errStatusLine
	}
	if err := r.parseLine(b[:end-1]); err != nil {
		return err
	}
	var err *Error
	if r.Fields, err = parseFields(r.Fields, b[end+1:], limits.Fields); err != nil {
		return err
	}
	return r.interpret(head)
}

func (r *Response) parseLine(line []byte) (err *Error) {
	const version = len("HTTP/1.1")
	if len(line) < version+4 || line[version] != ' ' {
		return errStatusLine
	}
	if r.Minor, err = parseVersion(line[:version]); err != nil {
		return err
	}
	code := line[version+1 : version+4]
	if !all(code, isDigit) {
		return errStatusLine
	}
	r.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	if r.Status < 100 || r.Status > 599 {
		return errStatusLine
	}
	// Servers that send no reason often leave out the space before it as well.
	if rest := line[version+4:]; len(rest) > 0 {
		if rest[0] != ' ' || !all(rest, isValue) {
			return errStatusLine
		}
		r.Reason = rest[1:]
	}
	return nil
}

func (r *Response) interpret(head bool) *Error {
	var (
		framing  framingFields
		conn     connectionOptions
		upgrades int
	)
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.ID == Other {
			continue
		}
		f.Drop = responseHopByHop(f.ID)
		if f.Alias {
			continue
		}
		var err *Error
		switch f.ID {
		case ContentLength:
			err = framing.contentLength(f.Value)
		case TransferEncoding:
			err = framing.transferEncoding(f.Value)
		case Connection:
			err = conn.read(f.Value)
		case Upgrade:
			r.Upgrade = f.Value
			upgrades++
		}
		if err != nil {
			return err
		}
	}
	if err := framing.check(r.Minor); err != nil {
		return err
	}
	r.setFraming(framing, head)
	if conn.names {
		dropNamed(r.Fields)
	}
	r.Private = conn.private
	if r.Status != 101 || upgrades != 1 || !conn.upgrade {
		r.Upgrade = nil
	}
	r.Close = conn.close || r.Minor == 0 && !conn.keepAlive || r.Framing == ByClose ||
		r.Status == 204 && (framing.hasCoding || framing.length > 0) // the body may follow all the same
	return nil
}

func responseHopByHop(id Name) bool {
	switch id {
	case Connection, ContentLength, KeepAlive, OwnError, ProxyConnection, TE, TransferEncoding, Upgrade:
		return true
	}
	return false
}

// setFraming follows RFC 9112 6.3.
func (r *Response) setFraming(f framingFields, head bool) {
	if f.hasLength {
		r.Length = f.length
	}
	switch {
	case head, r.Status < 200, r.Status == 204, r.Status == 304:
		r.Framing = NoBody
	case f.hasCoding:
		r.Framing = Chunked
	case f.hasLength:
		r.Framing = ByLength
	default:
		r.Framing = ByClose
	}
}
