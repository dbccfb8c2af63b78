// Package tlstest makes, in memory and for one test, what a mutual-TLS client needs on its other side: a small
// public-key infrastructure and upstreams that behave well, badly or in ways no specification foresaw.
//
// A [CA] issues identities with any defect a test wants (expired, wrong usage, revoked, unknown issuer). A [Server]
// demands and verifies a client certificate, hands every connection to a [Script] and remembers what it saw.
// Nothing is read from or written to the tree; identities reach the disk only through [Identity.WriteFiles].
//
// Everything a Server records may be read while it runs. A [Conn] belongs to its script's goroutine. Package
// tlstest/leak finds what a test left behind.
package tlstest
