package caller

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Diag tells who is at the other end of connections. It keeps the netlink socket
// that it asks for TCP, since opening one takes longer than asking. The zero Diag
// is ready for use; Close frees the socket.
type Diag struct {
	mu   sync.Mutex
	conn *netlink.Conn // nil until asked, and after a failure

	proc      string // empty: kernelFiles
	read      sync.Once
	namespace namespace
}

// numbers returns what our user namespace does not tell. It is read once: the map of
// a namespace is written before its processes begin their work, and never again.
func (d *Diag) numbers() namespace {
	d.read.Do(func() { d.namespace = namespaceIn(cmp.Or(d.proc, kernelFiles)) })
	return d.namespace
}

// patience bounds a question. The kernel answers within the system call that asks.
const patience = time.Second

// Close gives the netlink socket back. A later question opens another.
func (d *Diag) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

func (d *Diag) drop() {
	if d.conn != nil {
		_ = d.conn.Close() // nothing was written that could be lost
		d.conn = nil
	}
}

// Reading reports whether the process at the other end of a TCP connection on
// this host still has its socket open, as one that has ended only its own stream
// does. local and remote are the addresses of our end. It is false for a
// connection from elsewhere, and when the kernel does not tell.
func (d *Diag) Reading(local, remote net.Addr) bool {
	ours, ok1 := addrPort(local)
	theirs, ok2 := addrPort(remote)
	if !ok1 || !ok2 {
		return false
	}
	s, err := d.lookup(theirs, ours)
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

// lookup asks for the socket whose own end is src and whose other end is dst.
func (d *Diag) lookup(src, dst netip.AddrPort) (socket, error) {
	answers, err := d.ask(request(src, dst))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return socket{}, fmt.Errorf("asking for the owner of %v: %w", src, err)
	}
	for _, m := range answers {
		if s, ok := parse(m.Data); ok && s.carries(src, dst) {
			return s, nil
		}
	}
	return socket{}, fmt.Errorf("no process has the connection from %v to %v: it comes from another host or network namespace, is closed already, or the kernel lacks tcp_diag", src, dst)
}

func (d *Diag) ask(question []byte) ([]netlink.Message, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
		if err != nil {
			return nil, err
		}
		d.conn = c
	}
	if err := d.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		d.drop()
		return nil, err
	}
	answers, err := d.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request},
		Data:   question,
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		d.drop() // a late answer must not be taken for that to the next question
	}
	return answers, err
}

// Sizes of the kernel's structures, linux/inet_diag.h.
const (
	requestSize = 56 // struct inet_diag_req_v2
	answerSize  = 72 // struct inet_diag_msg
)

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

// socket is what is known of a TCP socket. inode is 0 once no process holds it.
type socket struct {
	src, dst   netip.AddrPort
	state      uint8 // of TCP, as BPF_TCP_…
	uid, inode uint32
}

// carries reports whether s is an end of this very connection. The kernel answers
// with a listening socket where it has no better one, and that may be anybody's.
func (s *socket) carries(src, dst netip.AddrPort) bool { return s.src == src && s.dst == dst }

// parse reads a struct inet_diag_msg.
func parse(b []byte) (socket, bool) {
	if len(b) < answerSize {
		return socket{}, false
	}
	end := func(port, address []byte) netip.AddrPort {
		if b[0] == unix.AF_INET {
			address = address[:4]
		}
		a, _ := netip.AddrFromSlice(address)
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
	}
	return socket{
		src:   end(b[4:6], b[8:24]),
		dst:   end(b[6:8], b[24:40]),
		state: b[1],
		uid:   binary.NativeEndian.Uint32(b[64:]),
		inode: binary.NativeEndian.Uint32(b[68:]),
	}, true
}
