package rawconn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// presence asks poll(2): POLLRDHUP stands for the end of the peer's stream even
// when unread bytes lie before it, POLLHUP and POLLERR for the end of both.
func presence(fd uintptr) Presence {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	for {
		_, err := unix.Poll(fds, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return Gone
		}
		break
	}
	switch got := fds[0].Revents; {
	case got&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
		return Gone
	case got&unix.POLLRDHUP != 0:
		return HalfClosed
	}
	return Present
}
