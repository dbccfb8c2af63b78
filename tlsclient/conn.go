package tlsclient

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// conn is one mutual-TLS connection. It belongs to one exchange at a time.
type conn struct {
	link    *link
	addr    netip.AddrPort
	sock    *rawconn.Conn
	records records
	tls     *tls.Conn
	reader  http1.Reader

	expires   time.Time // no exchange begins on it after this
	idleSince time.Time
	uses      int  // exchanges begun
	tunnel    bool // it left HTTP behind; the upstream's mutex guards it

	writtenBefore int64 // bytes on the socket when the exchange began

	pass   pass      // of the exchange
	came   outcome   // of the exchange
	headed time.Time // when the head of its final response came; zero: it has not
	slack  bool      // the socket waits longer than usual for the peer to take something
	look   *lookout  // after the peer of a tunnel; nil: it is none

	version uint16 // of TLS
	serial  string // of the server's certificate, hexadecimal
	resumed bool

	exchange *exchange    // whose turn it is
	tickFn   func() error // c.tick, made once
	cleanFn  func() bool  // c.closedCleanly, made once

	doom   atomic.Pointer[doom] // nil: it may live; set under the upstream's mutex
	closed atomic.Bool
}

// begin makes the connection the exchange's: its client is asked whether it is
// still there whenever a read waits long.
func (c *conn) begin(ex *exchange) {
	c.exchange = ex
	c.sock.Tick = c.tickFn
}

func (c *conn) end() {
	c.exchange = nil
	c.sock.Tick = nil
	c.sock.ReadBy(time.Time{})
	c.sock.WriteBy(time.Time{})
}

// Read implements io.Reader: the plaintext.
func (c *conn) Read(p []byte) (int, error) { return c.records.through(c.tls, p) }

func (c *conn) tick() error { return c.exchange.tickOn(c) }

func (c *conn) describe() {
	cs := c.tls.ConnectionState()
	c.version, c.resumed = cs.Version, cs.DidResume
	c.serial = fmt.Sprintf("%x", cs.PeerCertificates[0].SerialNumber)
}

// closedCleanly tells, once a Read has returned io.EOF, whether the server ended
// the stream itself: crypto/tls reports the same for a TCP connection that was
// merely cut, RFC 9112 9.8.
func (c *conn) closedCleanly() bool { return !c.sock.EOF() }

// patient lets a peer be slow to take a body. TCP itself cannot tell one that takes nothing
// from one that is gone.
func (c *conn) patient(span time.Duration) {
	c.slack = true
	c.sock.SetUserTimeout(span)
}

// settle ends that once the peer has taken all.
func (c *conn) settle() {
	if !c.slack {
		return
	}
	if i := c.tcpInfo(); i.Unacked == 0 && i.Notsent_bytes == 0 {
		c.impatient()
	}
}

// impatient ends that: a peer that is gone is noticed in time again.
func (c *conn) impatient() {
	if c.slack {
		c.slack = false
		c.sock.SetUserTimeout(userTimeout)
	}
}

// dropBuffer gives the reader's buffer back.
func (c *conn) dropBuffer() {
	c.link.pool.upstream.opt().Buffers.Put(c.reader.Buf)
	c.reader.Reset(nil, 0)
}

// close says goodbye and closes. It may be called more than once.
func (c *conn) close() {
	if c.closed.Swap(true) {
		return
	}
	if c.sock.Held() { // what TLS takes for sent was not: nothing can follow it
		c.cut()
		return
	}
	_ = c.tls.Close() // a peer that does not take the alert changes nothing
}

// cut closes the socket at once, which also ends whatever reads or writes it.
func (c *conn) cut() { _ = c.sock.Close() }

// keepTunnel lets the connection, which has left HTTP behind, outlive the
// retirement of its generation, but not its certificate.
func (c *conn) keepTunnel() {
	u := c.link.pool.upstream
	u.mu.Lock()
	defer u.mu.Unlock()
	c.tunnel = true
}
