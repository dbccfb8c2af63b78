// Package identity keeps the identities of the daemon: it tries their files whenever
// they change, and from time to time without being told to, and remembers the
// generation in use, what is wrong with the files, and what was staged.
//
// Trying and taking are apart. Try reads the files and has no effect, so that a reload
// can try all identities before it goes over to any; Take makes what was found what is
// in use. Neither knows upstreams: whoever takes tells them.
package identity
