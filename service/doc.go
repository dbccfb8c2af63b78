// Package service composes the daemon: it turns a configuration into listeners,
// routes and upstreams, runs them, and brings them to an orderly end.
//
// It is the only package that knows all others. A Service is built once, with no
// effect outside the process, and run once.
package service
