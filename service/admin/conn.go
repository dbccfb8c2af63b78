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
	e := l.engine
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n := e.conns.Add(1)
		if n > maxConns+reserve {
			e.conns.Add(-1)
			e.connsRefused.Add(1)
			_ = nc.Close() // nothing was said on it
			continue
		}
		return &conn{
			Conn:    nc,
			surplus: n > maxConns,
			release: sync.OnceFunc(func() { e.conns.Add(-1) }),
			// Asked at the first request and not before, so that a slow user database holds
			// up nobody else.
			who: sync.OnceValues(func() (caller.Caller, error) { return e.who(nc) }),
		}, nil
	}
}

// conn is a connection that counts until it is closed.
type conn struct {
	net.Conn
	surplus bool // above maxConns
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
