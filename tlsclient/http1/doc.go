// Package http1 is HTTP/1.1 as it stands on the wire: strict message heads
// parsed in place, body framing both ways, and the writers for them.
//
// A head is parsed once, in the buffer it was read into; fields are slices of
// that buffer, in order and with their original spelling, and are valid until
// the buffer is used again. Nothing is repaired: a message that two readers
// could understand differently is refused. The rules are those of RFC 9110 and
// RFC 9112, the stricter choice where they leave one.
//
// The package decides nothing about routing, forwarding or connections. Its
// types are for one goroutine at a time; Limits and errors may be shared.
package http1
