// Package http1 is HTTP/1.1 as it stands on the wire: strict message heads
// parsed in place, body framing both ways, and the writers for them.
//
// A head is parsed once, in the buffer it was read into; fields are slices of
// that buffer, in order and with their original spelling, and are valid until
// the buffer is used again. Nothing is repaired: a message that two readers
// could understand differently is refused. The rules are those of RFC 9110 and
// RFC 9112, the stricter choice where they leave one.
//
// It is stricter than they ask where leniency helps nobody who is honest: blanks
// around a chunk size, percent signs without two digits, an empty Host, an empty
// port or one with leading zeros, a repeated Content-Length even if equal, blanks
// before a colon in responses, and HEAD, CONNECT and TRACE in another case are
// refused. It is more lenient in two things that are common and mean the same to
// everyone: a status line may end after the status, and targets may hold what
// browsers leave unescaped.
//
// The package decides nothing about routing, forwarding or connections. Its
// types are for one goroutine at a time; Limits and errors may be shared.
package http1
