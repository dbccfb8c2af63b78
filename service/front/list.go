package front

import (
	"cmp"
	"net"
	"slices"
	"time"
)

// Info is a client connection as it was at one moment.
type Info struct {
	Number    uint64 // counts up with every connection
	Listener  string
	Remote    net.Addr
	Caller    int64 // uid, or NoCaller: not known, or no exchange has begun
	Since     time.Time
	Idle      bool // between exchanges
	Tunnel    bool
	Route     string // of the exchange under way, or of the last one
	Exchanges uint64 // begun
	BytesIn   int64
	BytesOut  int64

	Conn net.Conn // only its addresses and socket options may be used
}

// List returns the open connections, the oldest first.
func (s *Server) List() []Info {
	s.mu.Lock()
	list := make([]Info, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c.info())
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Number, b.Number) })
	return list
}

func (c *conn) info() Info {
	i := Info{
		Number: c.number, Listener: c.listener.Name(), Remote: c.sock.RemoteAddr(), Caller: c.caller.Load(),
		Since: c.since, Idle: c.state.Load() == idle, Tunnel: c.tunnel.Load(), Exchanges: c.exchanges.Load(),
		BytesIn: c.sock.Received(), BytesOut: c.sock.Written(), Conn: c.sock.NetConn(),
	}
	if r := c.route.Load(); r != nil {
		i.Route = *r
	}
	return i
}
