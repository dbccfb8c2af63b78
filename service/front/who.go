package front

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// count begins an exchange in the books, and finds out who is there with the first. It
// reports whether the exchange is to be served.
func (c *conn) count() bool {
	if c.exchanges.Add(1) > 1 || c.known {
		return true
	}
	return c.ask()
}

// ask finds out who is there, and reports whether the connection is to be served.
func (c *conn) ask() bool {
	c.known = true
	if c.server.Who != nil {
		c.caller.Store(apart(func() int64 { return c.server.Who(c.sock.NetConn()) }))
	}
	return c.claim()
}

// apart runs f on a goroutine of its own: to ask takes more stack than anything else a
// connection does, and its own would stay that large. A panic is the connection's, too.
func apart[T any](f func() T) (v T) {
	var fault error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				fault = fmt.Errorf("%v\n%s", p, debug.Stack())
			}
		}()
		v = f()
	}()
	<-done
	if fault != nil {
		panic(fault)
	}
	return v
}

var (
	errNobodyKnown = errors.New("callers are not looked up here")
	errDoubted     = errors.New("the connection was found to be of one caller first, and of another then; connect anew")
)

// Who returns the caller with its groups. That is looked up once for each connection,
// when a handler asks; what could not be found out is looked up anew by the next that
// asks. If it is another than Caller knew, nobody is known on the connection any more.
func (x *Exchange) Who() (caller.Caller, error) {
	c := x.conn
	switch {
	case c.who != nil:
		return *c.who, nil
	case c.server.Identify == nil:
		return caller.Caller{UID: caller.None}, errNobodyKnown
	case c.doubted:
		return caller.Caller{UID: caller.None}, errDoubted
	}
	type answer struct {
		who caller.Caller
		err error
	}
	a := apart(func() (a answer) {
		a.who, a.err = c.server.Identify(c.sock.NetConn())
		return a
	})
	if a.err != nil {
		return a.who, a.err
	}
	if first := c.caller.Load(); first != NoCaller && first != int64(a.who.UID) {
		c.doubted = true
		c.caller.Store(NoCaller)
		return caller.Caller{UID: caller.None}, errDoubted
	}
	c.who = &a.who
	c.caller.Store(int64(a.who.UID))
	return a.who, nil
}
