// Package rawconn drives a stream socket by raw system calls.
//
// The sockets are non-blocking and belong to the Go runtime's poller; reads and
// writes on them cannot block, so the scheduler need not be told about each one.
// Leaving that hand-off out, and every system call that is bound to fail, is
// worth about a sixth of the CPU of a small exchange. Deadlines follow the same
// rule: they are kept as wanted times and armed only when a goroutine really
// has to wait and the armed one would come too late.
//
// A Conn is a net.Conn, so crypto/tls runs on top of it. At most one goroutine
// may read and one may write at a time; Close and Interrupt may be called from
// anywhere. The package knows nothing of TLS or HTTP.
package rawconn
