// Package tlsclient answers one question: give me the response to this request
// over mutual TLS.
//
// An Identity is files; a Generation is one checked, immutable loading of them.
// An Upstream has endpoints, and a pool of connections that belong to exactly
// one generation. Upstream.Do takes a connection, sends the request, and returns
// with the response's head read and its body ready to be read. It alone retries,
// and its errors carry a class and whose fault it was.
//
// No connection is ever made without the generation's certificate, without its
// trust anchors, or without verification. The package knows nothing of routes,
// listeners or callers. An Upstream may be used by many goroutines; a Request
// and its Response belong to one.
package tlsclient
