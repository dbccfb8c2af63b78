// Package admin serves the admin API, through which operators look at a daemon and
// steer it, and the metrics on TCP.
//
// All routes stand in one table, table.go. What a path answers, who may ask, which
// parameters and body it takes, and the OpenAPI description all come from there.
// The package knows nothing of the daemon behind it, which is a Backend, and does
// not make sockets: it is handed listeners. On a unix socket the peer credentials
// decide who may do what; none of it is meant for other hosts.
//
// Every request has a goroutine of its own, and a stream a second one that sends
// what has gathered and keeps quiet streams alive.
package admin
