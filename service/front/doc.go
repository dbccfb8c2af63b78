// Package front is the side of the applications: listeners, and the client
// connections on them as they speak HTTP/1.1.
//
// A Server reads strict request heads, hands each exchange to its Handler, and
// frames what the handler answers. One goroutine carries a connection; while it
// waits for the next request it holds no buffer. The package knows nothing of
// routes or upstreams and decides no answer itself: a request that cannot be
// understood is handed over too, with the reason.
//
// Serve, Drain, Cancel and Wait may be called from any goroutine. An Exchange
// belongs to the goroutine of its connection, but for Abandoned and StopBody.
package front
