package proxy

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// maxID bounds a request id that is taken over from a client.
const maxID = 128

// setID settles the exchange's id: the client's if its route accepts it and it
// is fit for logs, otherwise a new one.
func (e *exchange) setID(accept bool) {
	fields := e.x.Request.Fields
	for i := range fields {
		f := &fields[i]
		if f.ID != http1.XRequestID || f.Alias {
			continue
		}
		f.Drop = true
		if accept && fitID(f.Value) {
			e.id = e.keep(append(e.scratch(), f.Value...)) // it outlives the head
			accept = false
		}
	}
}

func fitID(id []byte) bool {
	for _, c := range id {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxID
}

// newID appends an id that is unique to this process, and with great likelihood
// beyond: its random prefix and a number.
func (p *Proxy) newID(dst []byte) []byte {
	var n [8]byte
	v := p.exchanges.Add(1)
	for i := range n {
		n[7-i] = byte(v >> (8 * i))
	}
	dst = append(dst, p.prefix...)
	return hex.AppendEncode(dst, n[2:])
}

// requestFields turns the client's fields into what goes upstream. What belongs
// to the client's connection was marked by the parser.
func (e *exchange) requestFields(r *Route) []http1.Field {
	req := &e.x.Request
	fields := req.Fields
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case http1.Trailer:
			f.Drop = f.Drop || req.Framing != http1.Chunked
		case http1.MaxForwards:
			if req.MaxForwards > 0 {
				f.Value = e.keep(strconv.AppendInt(e.scratch(), int64(req.MaxForwards-1), 10))
			}
		}
	}
	fields = applySets(fields, r.RequestSet, r.RequestRemove)
	n := &e.p.names
	if r.Forwarded {
		fields = e.appendForwarded(fields)
	}
	fields = append(fields,
		http1.Field{Name: n.requestID, Value: e.id},
		http1.Field{Name: n.via, Value: e.p.via[req.Minor]})
	req.Fields = fields // keeps the storage for the next exchange
	return fields
}

// appendForwarded says who asked, anew: what the client claimed was dropped.
func (e *exchange) appendForwarded(fields []http1.Field) []http1.Field {
	n := &e.p.names
	remote := e.x.Remote()
	host := e.x.Request.Authority
	if remote != "" {
		fields = append(fields, http1.Field{Name: n.xForwardedFor, Value: e.keep(append(e.scratch(), remote...))})
	}
	if len(host) > 0 {
		fields = append(fields, http1.Field{Name: n.xForwardedHost, Value: host})
	}
	fields = append(fields, http1.Field{Name: n.xForwardedProto, Value: n.http})
	b := append(e.scratch(), "for="...)
	switch {
	case remote == "":
		b = append(b, "unknown"...)
	case bytes.IndexByte([]byte(remote), ':') >= 0:
		b = append(append(append(b, `"[`...), remote...), `]"`...)
	default:
		b = append(b, remote...)
	}
	if len(host) > 0 {
		b = append(append(append(b, `;host="`...), host...), '"')
	}
	b = append(b, ";proto=http"...)
	return append(fields, http1.Field{Name: n.forwarded, Value: e.keep(b)})
}

// responseFields turns the upstream's fields into what goes to the client.
func (e *exchange) responseFields(r *Route) []http1.Field {
	resp := &e.resp
	fields := applySets(resp.Fields, r.ResponseSet, r.ResponseRemove)
	fields = append(fields, http1.Field{Name: e.p.names.via, Value: e.p.via[resp.Minor]})
	resp.Fields = fields
	return fields
}

// applySets drops the fields that are to be removed or set, and adds the latter.
// A field whose name only has something else for a hyphen goes too: many programs
// take it for the same.
func applySets(fields []http1.Field, set []Setting, remove []string) []http1.Field {
	if len(set) == 0 && len(remove) == 0 {
		return fields
	}
	for i := range fields {
		f := &fields[i]
		for _, name := range remove {
			f.Drop = f.Drop || http1.Alike(f.Name, name)
		}
		for j := range set {
			f.Drop = f.Drop || http1.Alike(f.Name, set[j].lower)
		}
	}
	for i := range set {
		fields = append(fields, set[i].Field)
	}
	return fields
}

// looped reports whether the request has been here before.
func (e *exchange) looped() bool {
	fields := e.x.Request.Fields
	for i := range fields {
		if fields[i].ID == http1.Via && bytes.Contains(fields[i].Value, e.p.pseudonym) {
			return true
		}
	}
	return false
}
