package caller

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer returns the credentials that whoever connected to a unix socket had then.
func peer(c net.Conn) (Caller, error) {
	cred, err := credentials(c)
	if err != nil {
		return unknown, err
	}
	gids := []uint32{cred.Gid}
	err = control(c, func(fd int) error {
		supplementary, err := peerGroups(fd)
		for _, g := range supplementary {
			if g != cred.Gid {
				gids = append(gids, g)
			}
		}
		return err
	})
	if err != nil {
		return unknown, fmt.Errorf("asking for the groups of the caller: %w", err)
	}
	return Caller{UID: cred.Uid, GIDs: gids, PID: cred.Pid}, nil
}

func credentials(c net.Conn) (*unix.Ucred, error) {
	if _, ok := c.RemoteAddr().(*net.UnixAddr); !ok {
		return nil, fmt.Errorf("a connection of type %T has no local caller", c)
	}
	var cred *unix.Ucred
	err := control(c, func(fd int) (err error) {
		cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking for the credentials of the caller: %w", err)
	case cred.Uid == None: // a socket that nobody has connected to
		return nil, errors.New("the socket has no caller")
	}
	return cred, nil
}

func control(c net.Conn, f func(fd int) error) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("a connection of type %T has no file descriptor", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// peerGroups reads SO_PEERGROUPS, Linux 4.13 and later. With too little room the
// kernel says how much it takes; the credentials of a socket do not change.
func peerGroups(fd int) ([]uint32, error) {
	gids := make([]uint32, 32)
	for {
		size := uint32(4 * len(gids)) // bytes
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(gids))), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // x/sys has no call for this option
		switch {
		case errno == 0:
			return gids[:size/4], nil
		case errno == unix.ERANGE && int(size) > 4*len(gids):
			gids = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
