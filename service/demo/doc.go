// Package demo shows the daemon at work: it makes a throw-away PKI, starts an
// upstream that demands a client certificate and the real service in front of it,
// sends requests through both, and says what happened.
//
// Every step checks what it shows. Nothing is faked and nothing leaves the host:
// all sockets are on 127.0.0.1 or in a temporary directory, which is removed at
// the end. Run keeps no state outside and may be called more than once.
package demo
