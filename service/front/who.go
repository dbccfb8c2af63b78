package front

import (
	"errors"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// count begins an exchange in the books, and finds out who is there with the first.
func (c *conn) count() {
	if c.exchanges.Add(1) > 1 || c.known {
		return
	}
	c.ask()
}

// ask finds out who is there.
func (c *conn) ask() {
	c.known = true
	if c.server.Who != nil {
		// On a goroutine of its own: to ask takes more stack than anything else a
		// connection does, and its own would stay that large.
		found := make(chan int64)
		go func() { found <- c.server.Who(c.sock.NetConn()) }()
		c.caller.Store(<-found)
	}
	c.claim()
}

var errNobodyKnown = errors.New("callers are not looked up here")

// Who returns the caller with its groups. That is looked up once for each connection,
// when a handler asks; what could not be found out is looked up anew by the next that
// asks.
func (x *Exchange) Who() (caller.Caller, error) {
	c := x.conn
	if c.who != nil {
		return *c.who, nil
	}
	if c.server.Identify == nil {
		return caller.Caller{UID: caller.None}, errNobodyKnown
	}
	type answer struct {
		who caller.Caller
		err error
	}
	found := make(chan answer) // as in ask
	go func() {
		who, err := c.server.Identify(c.sock.NetConn())
		found <- answer{who, err}
	}()
	a := <-found
	if a.err == nil {
		c.who = &a.who
		c.caller.Store(int64(a.who.UID))
	}
	return a.who, a.err
}
