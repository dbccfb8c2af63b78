package caller

import (
	"io"
	"net"
	"testing"
)

// What was sent before a reset can still be read, and the port that it came from is free
// for anybody: who calls from there next is not who has sent it.
func TestTheNextCallerFromAPortIsNotTheLast(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dial := func(from string) *net.TCPConn {
		local, err := net.ResolveTCPAddr("tcp", from)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.DialTCP("tcp", local, listener.Addr().(*net.TCPAddr)) //nolint:forcetypeassert // it listens on TCP
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := dial("127.0.0.1:0")
	port := first.LocalAddr().String()
	if _, err := io.WriteString(first, "request"); err != nil {
		t.Fatal(err)
	}
	if err := first.SetLinger(0); err != nil { // closing resets
		t.Fatal(err)
	}
	_ = first.Close()
	second := dial(port)
	defer func() { _ = second.Close() }()
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	var d Diag
	defer d.Close()
	if who, err := d.Of(accepted); err == nil {
		t.Errorf("the request of the first counts as that of %+v", who)
	}
	next, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	if _, err := d.Of(next); err != nil {
		t.Errorf("the second: %v", err)
	}
}
