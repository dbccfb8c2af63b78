// Package api holds what the admin API says on the wire, and a typed client for it.
//
// The API is HTTP/1.1 with JSON over a unix socket, under /v1/. Fields may be added
// to a version; readers skip those they do not know. Durations are numbers of
// seconds, times are RFC 3339 in UTC, sizes are bytes. Streams are one JSON value
// per line; an empty line only shows that the stream lives, a line with a "lost"
// member stands for values that the reader was too slow for, and a line with an
// "error" member is the last one. An error is answered as an ErrorBody, but for what
// is not even HTTP or has too long a header: that gets a line of text.
package api
