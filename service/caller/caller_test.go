package caller

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) {
	if target := os.Getenv(dialVariable); target != "" {
		os.Exit(dialAndWait(target))
	}
	if address := os.Getenv(listenVariable); address != "" {
		os.Exit(listenAndTell(address))
	}
	leak.Main(m)
}

// dialVariable holds the network and the address that a child of the test connects to.
const dialVariable = "CALLER_TEST_DIAL"

// dialAndWait is what such a child does, until the test closes its standard input.
func dialAndWait(target string) int {
	network, address, _ := strings.Cut(target, " ")
	c, err := net.Dial(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// pair returns both ends of a TCP connection on the loopback address.
func pair(t *testing.T, network, address string) (near, far *net.TCPConn) {
	t.Helper()
	return pairTo(t, network, address, "")
}

// pairTo is pair, with another host than the listener's to dial to.
func pairTo(t *testing.T, network, address, host string) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("SKIP %s: %v", network, err)
	}
	defer l.Close()
	to := l.Addr().String()
	if host != "" {
		to = net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	c, err := net.Dial(network, to)
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

func TestReadingIsFalseForOtherKindsOfAddress(t *testing.T) {
	a := &net.UnixAddr{Name: "/x", Net: "unix"}
	if Reading(a, a) {
		t.Error("a unix address counts as reading over TCP")
	}
}
