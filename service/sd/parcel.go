package sd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many descriptors the kernel lets one message carry, SCM_MAX_FD.
	batch = 253

	// mark and the name of a listener are the text of a message. An empty one would
	// not be sent, and its descriptors lost.
	mark = "client-"

	// maxName bounds that name, so that a message is read at once.
	maxName = 255
)

// errParcelFull means that the buffer of the parcel's socket is full, whose size is
// net.core.wmem_default. There is room in another parcel.
var errParcelFull = errors.New("the parcel is full")

// packing says of an error of the kernel what to do about it.
func packing(call string, err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return errParcelFull
	case errors.Is(err, unix.ETOOMANYREFS): // more are on their way than RLIMIT_NOFILE, unix(7)
		return fmt.Errorf("this user has as many descriptors on their way as it may (%w); raise LimitNOFILE= in the unit", err)
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("the process has no descriptor left to do it with (%w); raise LimitNOFILE= in the unit", err)
	case errors.Is(err, unix.ENFILE):
		return fmt.Errorf("the host has no descriptor left to do it with (%w); raise fs.file-max with sysctl", err)
	}
	return os.NewSyscallError(call, err)
}

// pack puts copies of the clients' descriptors into the queue of a new socket, which
// the caller must close, and returns how many of them, from the first one, are in it
// or were closed before. Each message carries connections of one listener, whose name
// it is. A stream is used since the queue of datagrams can be as short as ten
// (net.unix.max_dgram_qlen); that messages with descriptors stay apart is unix(7)'s
// promise: ancillary data is a barrier.
func pack(clients []Client) (file *os.File, done int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, packing("socketpair", err)
	}
	defer func() { _ = unix.Close(pair[0]) }() // what is sent stays with the other end
	file = os.NewFile(uintptr(pair[1]), parcel)
	for done < len(clients) {
		name := clients[done].Listener
		part := clients[done:min(done+batch, len(clients))]
		if i := slices.IndexFunc(part, func(c Client) bool { return c.Listener != name }); i >= 0 {
			part = part[:i]
		}
		if len(name) > maxName {
			return file, done, fmt.Errorf("the name %q of a listener is too long", name)
		}
		list, err := conns(part)
		if err != nil {
			return file, done, err
		}
		err = held(list, nil, func(fds []int) error {
			if len(fds) == 0 {
				return nil // all of them are closed
			}
			return unix.Sendmsg(pair[0], []byte(mark+name), unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return file, done, packing("sendmsg", err)
		}
		done += len(part)
	}
	return file, done, nil
}

func conns(clients []Client) ([]syscall.Conn, error) {
	list := make([]syscall.Conn, len(clients))
	for i, c := range clients {
		s, ok := c.Conn.(syscall.Conn)
		if !ok {
			return nil, fmt.Errorf("a %T has no descriptor to hand over", c.Conn)
		}
		list[i] = s
	}
	return list, nil
}

// held calls do with the descriptors of conns, none of which is closed before it
// returns; connections that are closed already are left out. File would not do: it
// makes the connection blocking, for the next process as well.
func held(conns []syscall.Conn, fds []int, do func(fds []int) error) error {
	for i, c := range conns {
		raw, err := c.SyscallConn()
		if err != nil {
			continue
		}
		var inner error
		err = raw.Control(func(fd uintptr) { inner = held(conns[i+1:], append(fds, int(fd)), do) })
		if err == nil {
			return inner
		}
	}
	return do(fds)
}

// unpack takes all client connections out of a parcel, or returns what went wrong.
func (p *Passed) unpack(f *os.File) string {
	raw, err := f.SyscallConn()
	if err != nil {
		return err.Error()
	}
	why := ""
	err = raw.Control(func(fd uintptr) {
		for why == "" {
			var more bool
			if more, why = p.unpackMessage(int(fd)); !more {
				return
			}
		}
	})
	if err != nil {
		return err.Error()
	}
	return why
}

func (p *Passed) unpackMessage(fd int) (more bool, why string) {
	text := make([]byte, len(mark)+maxName)
	rights := make([]byte, unix.CmsgSpace(batch*4))
	n, oobn, flags, _, err := unix.Recvmsg(fd, text, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case errors.Is(err, unix.EINTR):
		return true, ""
	case errors.Is(err, unix.EAGAIN) || err == nil && n == 0:
		return false, ""
	case err != nil:
		return false, fmt.Sprintf("it cannot be read: %v", err)
	}
	name, known := strings.CutPrefix(string(text[:n]), mark)
	messages, err := unix.ParseSocketControlMessage(rights[:oobn])
	if err != nil {
		return false, fmt.Sprintf("it cannot be read: %v", err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials, which nobody has asked for
		}
		for _, fd := range fds {
			if !known {
				_ = unix.Close(fd) // of a kind that cannot be told
				continue
			}
			p.addClient(name, os.NewFile(uintptr(fd), "client"))
		}
	}
	if !known {
		return true, "another version of this program has filled it"
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return true, "not all connections in it could be taken, and the rest is closed; raise LimitNOFILE= in the unit"
	}
	return true, ""
}
