// Package proxy carries an exchange from a client to an upstream and back: it
// finds the route, applies the header policy, forwards, and answers itself when
// that fails.
//
// A Table of routes is immutable and swapped as a whole; an exchange uses the one
// it began with. The package frames nothing: front and tlsclient do, each on its
// side. A Proxy may be used by many goroutines.
package proxy
