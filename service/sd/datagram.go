package sd

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// send sends one datagram, with copies of descriptors, and waits until the deadline
// for room in the receiver's queue.
//
// The socket is connected, since only then does the kernel wake a sender when there
// is room again, unix_dgram_poll; net.UnixConn sends no descriptors on such a one,
// so that is done by hand. It is a new one each time: the receiver may have
// been restarted meanwhile.
func send(to *net.UnixAddr, text string, fds []int, deadline time.Time) error {
	c, err := net.DialUnix("unixgram", nil, to)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // a datagram is sent when it is sent
	if err := c.SetWriteDeadline(deadline); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		for {
			sent = unix.Sendmsg(int(fd), []byte(text), rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if !errors.Is(sent, unix.EINTR) {
				return !errors.Is(sent, unix.EAGAIN)
			}
		}
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBusy
	case err != nil:
		return err
	}
	return os.NewSyscallError("sendmsg", sent)
}
