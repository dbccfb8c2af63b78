package admin

import (
	"errors"
	"fmt"
	"os"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// permission is what a route asks of a caller.
type permission string

const (
	connect permission = "connect" // nothing: whoever can connect
	read    permission = "read"
	operate permission = "operate"
	scrape  permission = "scrape" // the metrics on TCP
)

// Access says who may do what on the admin socket. Root and the daemon's own user
// may do everything, whatever it says.
type Access struct {
	Read    caller.Set // see how the daemon fares
	Operate caller.Set // change it, and all that Read may
}

func (a *Access) allows(who caller.Caller, needs permission) bool {
	return master(who) || a.Operate.Allows(who) || needs == read && a.Read.Allows(who)
}

// master reports whether who may do everything. A uid that a user namespace gives to
// whom it does not map never comes here, be it our own: package caller tells nobody.
func master(who caller.Caller) bool {
	return who.UID == 0 || int(who.UID) == os.Geteuid()
}

// may reports whether the caller of c has a permission. It makes no event of it.
func (s *Server) may(c *call, needs permission) bool {
	who, err := c.conn.who()
	return err == nil && s.access.Load().allows(who, needs)
}

// permit returns why the caller of c may not have what needs permission.
func (s *Server) permit(c *call, needs permission) *api.Error {
	if needs == connect {
		return nil
	}
	who, err := c.conn.who()
	if err == nil && s.access.Load().allows(who, needs) {
		return nil
	}
	c.denied(&s.denials, needs, who, err)
	if err != nil {
		e := &api.Error{Class: api.NotPermitted, Message: "the daemon cannot tell who you are", Hint: "connect to its unix socket, from this host"}
		if errors.Is(err, caller.ErrUnmapped) {
			e.Hint = "its user namespace does not map you: ask from inside of it, or run the daemon outside"
		}
		return e
	}
	return &api.Error{
		Class:   api.NotPermitted,
		Message: fmt.Sprintf("uid %d lacks the permission %q", who.UID, needs),
		Hint:    fmt.Sprintf(`[admin] %s in the configuration says who has it: add "uid:%d" there, or join a group it names, such as mtlsproxy-admin, and log in again`, needs, who.UID),
	}
}
