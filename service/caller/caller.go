// Package caller tells who is at the other end of a local connection, and whether
// a list of rules allows them.
//
// On a unix socket the kernel has kept the credentials of whoever connected,
// unix(7). For TCP on this host the kernel is asked for the owner of the other
// end's socket through sock_diag(7); the groups then come from the user database.
// Both name the user who made the socket: a process that was handed a socket acts
// as its maker. In a user namespace all users that it does not map have one and the
// same number, usually 65534: whoever comes with it is unknown, and a group with it
// is left out, even if the namespace maps a user or a group to that number, too.
//
// The package does not know connections from other hosts, and never guesses: what
// the kernel does not tell is an error. Everything in it may be used from several
// goroutines.
package caller

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// None is the number of no user and no group. The kernel gives it to nobody.
const None = ^uint32(0)

// Caller is the local user behind a connection.
type Caller struct {
	UID  uint32
	GIDs []uint32 // primary and supplementary; empty for a uid that has no entry in the user database
	PID  int32    // of the process that connected; 0 if unknown, as always on TCP
}

// unknown is what goes with an error, so that a caller whose error was overlooked
// is not taken for root.
var unknown = Caller{UID: None}

// Of returns who is at the other end of c, a connection that was accepted on a
// unix or TCP socket. Every call asks anew and opens a socket for that; whoever
// asks often has a Diag.
func Of(c net.Conn) (Caller, error) {
	d := new(Diag)
	defer d.Close()
	return d.Of(c)
}

// Reading is Diag.Reading with a socket of its own.
func Reading(local, remote net.Addr) bool {
	d := new(Diag)
	defer d.Close()
	return d.Reading(local, remote)
}

// Of returns who is at the other end of c, a connection that was accepted on a
// unix or TCP socket. It is an error if c comes from another host, or over TCP
// from a process that has closed it already, or if it is ErrUnmapped. With an error
// the UID is None.
func (d *Diag) Of(c net.Conn) (Caller, error) {
	who, err := d.find(c)
	if err != nil {
		return unknown, err
	}
	who.GIDs = d.numbers().groups(who.GIDs)
	return who, nil
}

func (d *Diag) find(c net.Conn) (Caller, error) {
	if _, ok := c.RemoteAddr().(*net.TCPAddr); !ok {
		who, err := peer(c)
		if err == nil {
			_, err = d.numbers().user(who.UID)
		}
		return who, err
	}
	uid, err := d.owner(c)
	if err != nil {
		return unknown, err
	}
	gids, err := groups(uid)
	return Caller{UID: uid, GIDs: gids}, err
}

// UID is Of without the groups: it asks the kernel once and reads no file. With
// an error it returns None.
func (d *Diag) UID(c net.Conn) (uint32, error) {
	if _, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return d.owner(c)
	}
	cred, err := credentials(c)
	if err != nil {
		return None, err
	}
	return d.numbers().user(cred.Uid)
}

// owner returns the uid that owns the other end of a TCP connection.
func (d *Diag) owner(c net.Conn) (uint32, error) {
	ours, ok1 := addrPort(c.LocalAddr())
	theirs, ok2 := addrPort(c.RemoteAddr())
	if !ok1 || !ok2 {
		return None, fmt.Errorf("connection from %v to %v has no usable addresses", c.RemoteAddr(), c.LocalAddr())
	}
	s, err := d.lookup(theirs, ours)
	switch {
	case err != nil:
		return None, err
	case s.inode == 0: // the kernel then says uid 0, which would be root
		return None, fmt.Errorf("connection from %v: its process has closed it already", theirs)
	case s.state == unix.BPF_TCP_SYN_SENT:
		return None, fmt.Errorf("connection from %v: somebody else calls from there now", theirs)
	}
	// After the answer, not before: as long as our end has its addresses, nobody else can.
	if err := alive(c); err != nil {
		return None, fmt.Errorf("connection from %v: %w", theirs, err)
	}
	return d.numbers().user(s.uid)
}

// alive reports an error if our end of a TCP connection has been reset. What came before
// that can still be read, but its addresses may be somebody else's by now.
func alive(c net.Conn) error {
	return control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.State == unix.BPF_TCP_CLOSE {
			err = unix.ECONNRESET
		}
		return err
	})
}
