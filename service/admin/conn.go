package admin

import (
	"context"
	"net"
	"sync"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// listener bounds how many connections there are at a time.
type listener struct {
	net.Listener
	engine *engine
}

// Accept implements net.Listener. A connection for which there is no room at all
// is closed unread.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.engine.admit(nc); c != nil {
			return c, nil
		}
		_ = nc.Close() // nothing was said on it
	}
}

// admit gives nc its place, or returns nil if there is none. Who comes in is asked
// now: it takes one system call on a unix socket, and a place that is taken before
// that could be kept from root by saying nothing.
func (e *engine) admit(nc net.Conn) *conn {
	c := &conn{Conn: nc, holder: holderOf(e.uid(nc))}
	room := &e.conns
	if !room.take(c.holder) {
		room, c.surplus = &e.told, true
		if !room.take(c.holder) {
			return nil
		}
	}
	c.release = sync.OnceFunc(func() { room.give(c.holder) })
	// The rest is asked at the first request and not before, so that a slow user database
	// holds up nobody else.
	c.who = sync.OnceValues(func() (caller.Caller, error) { return e.who(nc) })
	return c
}

// conn is a connection that counts until it is closed.
type conn struct {
	net.Conn
	holder  holder
	surplus bool // there is no room for it: it is only told so
	release func()
	who     func() (caller.Caller, error)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
