package http1

import "bytes"

// Request is a request head. Its slices point into the buffer it was parsed
// from. Parse may be called again on the same value and keeps its storage.
type Request struct {
	Method []byte
	Target []byte // as received
	Minor  int    // of the HTTP version: 0 or 1
	Fields []Field

	Form      Form
	Authority []byte // of an absolute-form target, otherwise the Host field; nil if there is neither
	Path      []byte // path and query to forward: never empty, "*" for the asterisk form

	Framing Framing // NoBody, ByLength or Chunked
	Length  int64   // for ByLength

	Close       bool // the client wants the connection closed, or cannot keep it
	Continue    bool // the client waits for 100 (Continue), RFC 9110 10.1.1
	WebSocket   bool // asks to switch to the websocket protocol, RFC 6455
	MaxForwards int  // of OPTIONS, or -1
	Private     bool // Connection names fields that may be trailers: see Body.DropTrailers
}

// Parse reads a head as FindHead delimits it. The error is an *Error. After an
// error only Method and Target may be used, and only if they are not nil.
func (r *Request) Parse(head []byte, limits Limits) *Error {
	*r = Request{Fields: r.Fields[:0], MaxForwards: -1}
	if len(head) > limits.Head {
		return HeadTooLarge(head[:limits.Head])
	}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return errRequestLine
	}
	if err := r.parseLine(head[:end-1], limits); err != nil {
		return err
	}
	var err *Error
	if r.Fields, err = parseFields(r.Fields, head[end+1:], limits.Fields); err != nil {
		return err
	}
	return r.interpret()
}

func (r *Request) parseLine(line []byte, limits Limits) (err *Error) {
	sp := bytes.IndexByte(line, ' ')
	last := bytes.LastIndexByte(line, ' ')
	if sp <= 0 || last <= sp+1 {
		return errRequestLine
	}
	if r.Minor, err = parseVersion(line[last+1:]); err != nil {
		return err
	}
	switch {
	case sp > maxMethod:
		return errMethodLong
	case !isTokenBytes(line[:sp]):
		return errMethod
	}
	r.Method, r.Target = line[:sp], line[sp+1:last]
	if err = checkMethod(r.Method); err != nil {
		return err
	}
	if len(r.Target) > limits.Target {
		return ErrTargetTooLong
	}
	r.Form, r.Authority, r.Path, err = parseTarget(r.Method, r.Target)
	return err
}

// maxMethod bounds a method; the longest registered has 17 bytes.
const maxMethod = 32

// checkMethod refuses what is not served here. Methods mind their case, but not
// every reader does: whoever takes "head" for HEAD ends the response elsewhere.
func checkMethod(m []byte) *Error {
	switch {
	case string(m) == "HEAD":
		return nil
	case string(m) == "CONNECT":
		return errConnect
	case string(m) == "TRACE":
		return errTrace
	case EqualFold(m, "head"), EqualFold(m, "connect"), EqualFold(m, "trace"):
		return errMethodCase
	}
	return nil
}

// interpret draws the conclusions from the fields.
func (r *Request) interpret() *Error {
	var (
		framing framingFields
		conn    connectionOptions
		host    []byte
		ws      bool
	)
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.ID == Other {
			continue
		}
		if f.Alias {
			f.Drop = true
			continue
		}
		var err *Error
		switch f.ID {
		case Host:
			if host != nil {
				return errHostTwice
			}
			if !validAuthority(f.Value) {
				return errHost
			}
			host = f.Value
		case ContentLength:
			err = framing.contentLength(f.Value)
		case TransferEncoding:
			err = framing.transferEncoding(f.Value)
		case Connection:
			err = conn.read(f.Value)
		case Upgrade:
			ws = ws || EqualFold(f.Value, "websocket")
		case Expect:
			err = r.expect(f.Value)
		case MaxForwards:
			err = r.maxForwards(f.Value)
		}
		if err != nil {
			return err
		}
		f.Drop = hopByHop(f.ID)
	}
	if host == nil && r.Minor > 0 {
		return errHostMissing
	}
	if r.Form != Absolute {
		r.Authority = host
	}
	if err := framing.check(r.Minor); err != nil {
		return err
	}
	r.setFraming(framing)
	if conn.names {
		dropNamed(r.Fields)
	}
	r.Private = conn.private
	r.Close = conn.close || r.Minor == 0
	r.WebSocket = ws && conn.upgrade && r.Minor > 0 && !r.HasBody() && string(r.Method) == "GET"
	r.Continue = r.Continue && r.HasBody()
	r.fillPath()
	return nil
}

// hopByHop reports whether a request field stays on the connection it came by,
// or is ours to set: the client's word on those is never passed on.
func hopByHop(id Name) bool {
	switch id {
	case Other, MaxForwards, Trailer, Via, XRequestID, ProxyAuthenticate:
		return false
	}
	return true
}

func (r *Request) setFraming(f framingFields) {
	switch {
	case f.hasCoding:
		r.Framing = Chunked
	case f.hasLength:
		r.Framing, r.Length = ByLength, f.length
	}
}

// HasBody reports whether any byte of a body may follow the head.
func (r *Request) HasBody() bool {
	return r.Framing == Chunked || r.Framing == ByLength && r.Length > 0
}

// expect accepts the one expectation there is. HTTP/1.0 has none to honour.
func (r *Request) expect(v []byte) *Error {
	if r.Minor == 0 {
		return nil
	}
	if r.Continue || !EqualFold(v, "100-continue") {
		return errExpect
	}
	r.Continue = true
	return nil
}

func (r *Request) maxForwards(v []byte) *Error {
	if string(r.Method) != "OPTIONS" {
		return nil
	}
	n, ok := parseLength(v)
	if !ok || r.MaxForwards >= 0 {
		return errMaxForwards
	}
	r.MaxForwards = int(min(n, 1<<20))
	return nil
}

// fillPath gives an absolute-form target without a path the one it stands for,
// RFC 9112 3.2.4: "*" for OPTIONS, otherwise "/".
func (r *Request) fillPath() {
	if r.Form != Absolute {
		return
	}
	switch {
	case len(r.Path) == 0 && string(r.Method) == "OPTIONS":
		r.Path = []byte("*")
	case len(r.Path) == 0:
		r.Path = []byte("/")
	case r.Path[0] == '?':
		r.Path = append([]byte("/"), r.Path...)
	}
}

// Idempotent reports whether the method may be repeated, RFC 9110 9.2.2.
func (r *Request) Idempotent() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	}
	return false
}
