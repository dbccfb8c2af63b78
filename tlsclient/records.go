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
	whole  int     // records that have come in whole
	empty  bool    // tls holds nothing that has not been read
	probe  [1]byte // where drained reads to; a local one would be allocated
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
			p = p[n:]
			if r.left -= n; r.left == 0 {
				r.whole++
			}
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

// unasked reports whether tls holds content although nothing was asked yet.
func (r *records) unasked(tls io.Reader) bool {
	r.dry = true
	n, _ := tls.Read(r.probe[:]) // without content, what matters will come up again
	r.dry = false
	return n > 0
}

// drained reports whether everything that came from the socket has been read
// through tls, with nothing left over.
func (r *records) drained(tls io.Reader) bool {
	if r.left > 0 || r.have > 0 {
		return false
	}
	if r.empty {
		return true
	}
	r.dry = true
	n, err := tls.Read(r.probe[:])
	r.dry = false
	r.empty = n == 0 && err == rawconn.ErrWouldBlock //nolint:errorlint // this very value, unwrapped, or anything else is wrong
	return r.empty
}

// through reads from tls and follows whether it holds more: if it held nothing,
// one record came in, and not all of the room for it was needed, it does not.
func (r *records) through(tls io.Reader, p []byte) (int, error) {
	empty, before := r.empty, r.whole
	r.empty = false
	n, err := tls.Read(p)
	r.empty = empty && (r.whole == before && n == 0 || r.whole == before+1 && n > 0 && n < len(p))
	return n, err
}
