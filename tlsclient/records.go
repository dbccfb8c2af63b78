package tlsclient

import (
	"io"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// records is the socket below TLS. It follows the record headers, RFC 8446 5.1,
// so that after a response it can be told whether crypto/tls holds bytes of
// another record: surplus that must never become the next response.
type records struct {
	*rawconn.Conn
	dry    bool    // fail instead of reading: only what is buffered above counts
	header [5]byte // of the record in progress
	have   int     // bytes of header seen
	left   int     // bytes of the record's content to come
}

// Read implements io.Reader.
func (r *records) Read(p []byte) (int, error) {
	if r.dry {
		return 0, rawconn.ErrWouldBlock
	}
	n, err := r.Conn.Read(p)
	r.follow(p[:n])
	return n, err
}

func (r *records) follow(p []byte) {
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
			continue
		}
		n := copy(r.header[r.have:], p)
		r.have += n
		p = p[n:]
		if r.have == len(r.header) {
			r.have = 0
			r.left = int(r.header[3])<<8 | int(r.header[4])
		}
	}
}

// drained reports whether everything that came from the socket has been read
// through tls, with nothing left over.
func (r *records) drained(tls io.Reader) bool {
	if r.left > 0 || r.have > 0 {
		return false
	}
	r.dry = true
	var b [1]byte
	n, err := tls.Read(b[:])
	r.dry = false
	return n == 0 && err == rawconn.ErrWouldBlock //nolint:errorlint // this very value, unwrapped, or anything else is wrong
}
