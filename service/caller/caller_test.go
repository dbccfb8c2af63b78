package caller

import (
	"net"
	"os"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pair returns both ends of a TCP connection on the loopback address.
func pair(t *testing.T, network, address string) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("SKIP %s: %v", network, err)
	}
	defer l.Close()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); a.Close() })
	return a.(*net.TCPConn), c.(*net.TCPConn)
}

func TestReading(t *testing.T) {
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		t.Run(network, func(t *testing.T) {
			near, far := pair(t, network, address)
			if !Reading(near.LocalAddr(), near.RemoteAddr()) {
				t.Error("an open peer does not count as reading")
			}
			far.CloseWrite()
			if !Reading(near.LocalAddr(), near.RemoteAddr()) {
				t.Error("a half-closed peer does not count as reading")
			}
			far.Close()
			if Reading(near.LocalAddr(), near.RemoteAddr()) {
				t.Error("a closed peer counts as reading")
			}
		})
	}
}

func TestLookupFindsTheOwner(t *testing.T) {
	near, _ := pair(t, "tcp4", "127.0.0.1:0")
	ours, _ := addrPort(near.LocalAddr())
	theirs, _ := addrPort(near.RemoteAddr())
	s, err := lookup(theirs, ours)
	if err != nil || int(s.uid) != os.Geteuid() {
		t.Errorf("got uid %d, %v; want %d", s.uid, err, os.Geteuid())
	}
}

func TestReadingIsFalseForOtherKindsOfAddress(t *testing.T) {
	a := &net.UnixAddr{Name: "/x", Net: "unix"}
	if Reading(a, a) {
		t.Error("a unix address counts as reading over TCP")
	}
}
