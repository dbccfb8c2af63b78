package sd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kind is what a descriptor is, as far as it matters.
type kind int

const (
	other kind = iota
	tcp
	unixStream
)

// description is what the kernel says of a descriptor.
type description struct {
	kind      kind
	listening bool
	connected bool
	gone      bool // a connection that has ended

	text string // instead of all that follows
	fd   int    // valid as long as the file that was looked at is open

	domain, style int
}

// look asks the kernel what f is.
func look(f *os.File) description {
	d := description{text: "descriptor that is not open"}
	raw, err := f.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { d = describe(int(fd)) }) // fails for a closed file; the text then holds
	}
	return d
}

func describe(fd int) description {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return description{text: fmt.Sprintf("descriptor %d, which is not open (%v)", fd, err)}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return description{text: fileKind(st.Mode) + " " + fileName(fd)}
	}
	domain, err1 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	style, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	protocol, err3 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	accepts, err4 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return description{text: fmt.Sprintf("socket of which the kernel tells nothing (%v)", err)}
	}
	d := description{fd: fd, domain: domain, style: style}
	switch ip := domain == unix.AF_INET || domain == unix.AF_INET6; {
	case style != unix.SOCK_STREAM:
		return d
	case domain == unix.AF_UNIX:
		d.kind = unixStream
	case ip && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP):
		d.kind = tcp
	default:
		return d
	}
	d.listening = accepts != 0
	if !d.listening {
		_, err := unix.Getpeername(fd)
		d.connected, d.gone = err == nil, errors.Is(err, unix.ENOTCONN)
	}
	return d
}

// words says for a message what it is, and where.
func (d description) words() string {
	if d.text != "" {
		return d.text
	}
	family := map[int]string{unix.AF_UNIX: "unix", unix.AF_INET: "IPv4", unix.AF_INET6: "IPv6", unix.AF_NETLINK: "netlink", unix.AF_VSOCK: "vsock"}[d.domain]
	if family == "" {
		family = "family " + strconv.Itoa(d.domain)
	}
	style := map[int]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "datagram", unix.SOCK_SEQPACKET: "seqpacket", unix.SOCK_RAW: "raw"}[d.style]
	state := ""
	switch {
	case d.listening:
		state = "listening "
	case d.connected:
		state = "connected "
	}
	return strings.TrimSpace(state + family + " " + style + " socket " + localName(d.fd))
}

// listenerVerdict returns why the descriptor is of no use as a listener of this
// name, or "".
func (d description) listenerVerdict(name string) string {
	switch {
	case d.kind == other:
		return "only stream sockets, TCP or unix, are served; use ListenStream= in the socket unit"
	case name == parcel:
		return "this name is for connections from the process before; choose another FileDescriptorName="
	case d.connected:
		return "it is a connection, not a listening socket; use Accept=no in the socket unit"
	case !d.listening:
		return "nothing listens on it; let a socket unit make it"
	case name == Admin && d.kind != unixStream:
		return "the administration socket must be a unix socket, where callers are known; use ListenStream=/run/mtlsproxy/admin.sock"
	}
	return ""
}

// clientVerdict is listenerVerdict for a client connection.
func (d description) clientVerdict() string {
	switch {
	case d.kind == other || d.listening:
		return "it is no client connection"
	case d.gone:
		return "the client has left"
	case !d.connected:
		return "it is not connected"
	}
	return ""
}

// role returns the name, or that of the family where there is none.
func (d description) role(name string) string {
	switch {
	case name != "":
		return name
	case d.kind == unixStream:
		return Admin
	}
	return HTTP
}

func fileKind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFIFO:
		return "pipe"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	}
	return "anonymous file" // of epoll, inotify, timerfd and the like
}

func fileName(fd int) string {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "without a name"
	}
	return name
}

// localName is the address of a socket, or "".
func localName(fd int) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return ""
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrUnix:
		return sa.Name
	}
	return ""
}

// Address writes an address as messages have it: host:port, or the path of a unix
// socket, with @ in front if it is abstract.
func Address(a net.Addr) string {
	if a == nil || a.String() == "" {
		return "without an address"
	}
	return a.String()
}
