package front

import "time"

// Linger after the last answer, so that it is not lost to a reset because the
// client was still sending, RFC 9112 9.6.
const (
	lingerTime  = 2 * time.Second
	leaveLinger = 500 * time.Millisecond // while the next process waits
	lingerBytes = 1 << 20
)

// linger ends our stream and reads the client's to its end, within bounds.
func (c *conn) linger(buf []byte) {
	if c.sock.CloseWrite() != nil {
		return
	}
	c.sock.Resume()
	long := lingerTime
	if c.server.leaving.Load() {
		long = leaveLinger
	}
	c.sock.ReadBy(time.Now().Add(long))
	for left := lingerBytes; left > 0; {
		n, err := c.sock.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}
