// Package caller tells who is at the other end of a local connection.
//
// For loopback TCP the kernel is asked about the other end's socket through
// sock_diag(7). The functions keep no state and may be called from anywhere.
package caller

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Reading reports whether the process at the other end of a TCP connection on
// this host still has its socket open, as one that has ended only its own stream
// does. local and remote are the addresses of our end. It is false for a
// connection from elsewhere, and when the kernel does not tell.
func Reading(local, remote net.Addr) bool {
	ours, ok1 := addrPort(local)
	theirs, ok2 := addrPort(remote)
	if !ok1 || !ok2 {
		return false
	}
	s, err := lookup(theirs, ours)
	return err == nil && s.inode != 0
}

func addrPort(a net.Addr) (netip.AddrPort, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), ap.IsValid()
}

// socket is what is known of a TCP socket. inode is 0 once no process holds it.
type socket struct {
	uid, inode uint32
}

// Sizes of the kernel's structures, linux/inet_diag.h.
const (
	requestSize = 56 // struct inet_diag_req_v2
	answerSize  = 72 // struct inet_diag_msg
)

// lookup asks for the socket whose own end is src and whose other end is dst.
func lookup(src, dst netip.AddrPort) (socket, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return socket{}, fmt.Errorf("opening sock_diag: %w", err)
	}
	defer func() { _ = c.Close() }() // it was only asked
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request},
		Data:   request(src, dst),
	})
	if err != nil {
		return socket{}, fmt.Errorf("asking for the socket %v to %v: %w", src, dst, err)
	}
	for _, m := range answers {
		if len(m.Data) >= answerSize {
			return socket{
				uid:   binary.NativeEndian.Uint32(m.Data[64:]),
				inode: binary.NativeEndian.Uint32(m.Data[68:]),
			}, nil
		}
	}
	return socket{}, fmt.Errorf("no socket %v to %v", src, dst)
}

// request is a struct inet_diag_req_v2 that names one socket exactly.
func request(src, dst netip.AddrPort) []byte {
	b := make([]byte, requestSize)
	b[0] = unix.AF_INET6
	if src.Addr().Is4() {
		b[0] = unix.AF_INET
	}
	b[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // in every state
	binary.BigEndian.PutUint16(b[8:], src.Port())
	binary.BigEndian.PutUint16(b[10:], dst.Port())
	copy(b[12:28], src.Addr().AsSlice())
	copy(b[28:44], dst.Addr().AsSlice())
	binary.NativeEndian.PutUint64(b[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	return b
}
