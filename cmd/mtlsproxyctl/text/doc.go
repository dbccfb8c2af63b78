// Package text makes what mtlsproxyctl prints for people: safe, short, and as wide
// as their terminal.
//
// It writes nowhere and knows nothing of the daemon. Its functions may be called
// from several goroutines.
package text
