package sd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// handover stores clients and returns what the manager has of them.
func handover(t *testing.T, clients ...Client) []socket {
	t.Helper()
	n, m := notified(t)
	stop := m.serve()
	k, err := n.Store(t.Context(), clients...)
	kept := stop()
	if err != nil || k != len(clients) {
		t.Fatalf("stored %d of %d: %v", k, len(clients), err)
	}
	var stored []socket
	for _, d := range kept {
		for _, f := range d.files {
			t.Cleanup(func() { f.Close() })
			stored = append(stored, socket{parcel, f})
		}
		if len(d.files) > 0 && d.text != "FDSTORE=1\nFDPOLL=0\nFDNAME=clients" {
			t.Errorf("stored by %q", d.text)
		}
	}
	return stored
}

func TestClientsAreServedByTheNextProcess(t *testing.T) {
	local := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
	web := listen(t, "tcp", "127.0.0.1:0")
	var ours []net.Conn
	var clients []Client
	for i, l := range []net.Listener{web, local, web} {
		c, s := pair(t, l)
		ours = append(ours, c)
		clients = append(clients, Client{fmt.Sprint("l", i), s})
	}
	stored := handover(t, clients...)
	for _, c := range clients {
		c.Close() // what the old process does last
	}
	r := pass(t, append(stored, socket{"http", file(t, web.(*net.TCPListener))}), childVariable+"=answer")
	if want := []string{"l0 tcp", "l1 unix", "l2 tcp"}; !slices.Equal(r.Clients, want) || len(r.Rejected) > 0 {
		t.Errorf("%+v, want clients %q", r, want)
	}
	if !slices.Equal(r.Stored, []string{"clients"}) {
		t.Errorf("to be removed from the store: %q", r.Stored)
	}
	for i, c := range ours {
		all, err := io.ReadAll(c)
		if want := fmt.Sprintf("served by l%d\n", i); string(all) != want || err != nil {
			t.Errorf("client %d got %q and %v", i, all, err)
		}
	}
}

func TestStoringLeavesAConnectionNonBlocking(t *testing.T) {
	web := listen(t, "tcp", "127.0.0.1:0")
	_, s := pair(t, web)
	handover(t, Client{"http", s})
	if err := s.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestOneParcelHoldsThousands(t *testing.T) {
	const many = 1500 // more than five messages, and what a soft limit of 4096 files allows
	l := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
	_, s := pair(t, l)
	var clients []Client
	for range many {
		clients = append(clients, Client{"http", s})
	}
	stored := handover(t, clients...)
	if len(stored) != 1 {
		t.Fatalf("%d descriptors in the store", len(stored))
	}
	p := &Passed{}
	p.add(parcel, stored[0].file)
	if len(p.Clients) != many || len(p.Rejected) > 0 {
		t.Errorf("%d clients, rejected %v", len(p.Clients), p.Rejected)
	}
	p.Close()
}

func TestAClientThatHasLeftIsNoReasonToWarn(t *testing.T) {
	web := listen(t, "tcp", "127.0.0.1:0")
	c, s := pair(t, web)
	stored := handover(t, Client{"http", s})
	if err := c.(*net.TCPConn).SetLinger(0); err != nil { // so that it resets
		t.Fatal(err)
	}
	c.Close()
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Fatal("the client is still there")
	}
	r := pass(t, stored)
	if len(r.Clients) > 0 || len(r.Rejected) != 1 || !r.Rejected[0].Gone {
		t.Errorf("%+v", r)
	}
}

func TestAClientThatHasClosedItsSideIsServedToTheEnd(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	c, s := pair(t, l)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	stored := handover(t, Client{"http", s})
	s.Close()
	if r := pass(t, stored, childVariable+"=answer"); len(r.Clients) != 1 {
		t.Errorf("%+v", r)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "served by http\n" {
		t.Errorf("got %q and %v", line, err)
	}
}

func TestAConnectionThatWasClosedIsPassedOver(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	_, a := pair(t, l)
	_, b := pair(t, l)
	a.Close()
	if r := pass(t, handover(t, Client{"http", a}, Client{"http", b})); len(r.Clients) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestClientsOfAListenerThatIsNoMoreAreClosed(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	c, s := pair(t, l)
	stored := handover(t, Client{"old", s})
	s.Close()
	r := pass(t, stored, keepVariable+"=http")
	if len(r.Clients) > 0 || len(r.Rejected) != 1 || !strings.Contains(r.Rejected[0].Why, `"old"`) || r.Rejected[0].Gone {
		t.Errorf("%+v", r)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client sees %v", err)
	}
}

func TestAnEmptyStoreClosesTheClients(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	c, s := pair(t, l)
	stored := handover(t, Client{"http", s})
	s.Close()
	stored[0].file.Close() // what the manager does when the service is stopped
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client sees %v", err)
	}
}

func TestAParcelOfAnotherKindIsClosed(t *testing.T) {
	l := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
	c, s := pair(t, l)
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	r := pass(t, []socket{{parcel, file(t, s.(*net.UnixConn))}})
	if len(r.Clients) > 0 || len(r.Rejected) != 1 || !strings.Contains(r.Rejected[0].Why, "another version") {
		t.Errorf("%+v", r)
	}
}

func TestWhatIsInAParcelIsChecked(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	r := pass(t, handover(t, Client{"http", udp.(*net.UDPConn)}))
	if len(r.Clients) > 0 || len(r.Rejected) != 1 || !strings.Contains(r.Rejected[0].What, "datagram") {
		t.Errorf("%+v", r)
	}
}

func TestStoreSaysWhenNobodyTakesIt(t *testing.T) {
	n, m := notified(t)
	l := listen(t, "tcp", "127.0.0.1:0")
	_, s := pair(t, l)
	m.stuff()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	k, err := n.Store(ctx, Client{"http", s})
	if k != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stored %d, error %v", k, err)
	}
}

func TestUnstoreRemovesByName(t *testing.T) {
	n, m := notified(t)
	if err := n.Unstore(t.Context(), "clients", "mtlsproxy.socket"); err != nil {
		t.Error(err)
	}
	m.want("FDSTOREREMOVE=1\nFDNAME=clients", "FDSTOREREMOVE=1\nFDNAME=mtlsproxy.socket")
	for _, name := range []string{"", "a:b", "a\nREADY=1", "ü", strings.Repeat("x", 256)} {
		if err := n.Unstore(t.Context(), name); err == nil {
			t.Errorf("%q passes for a name", name)
		}
	}
}

func TestAConnectionWithoutADescriptorIsRefused(t *testing.T) {
	n, m := notified(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if k, err := n.Store(t.Context(), Client{"http", a}); k != 0 || err == nil {
		t.Errorf("stored %d, %v", k, err)
	}
	m.want()
}

func TestANameThatIsTooLongIsRefused(t *testing.T) {
	n, m := notified(t)
	_, s := pair(t, listen(t, "tcp", "127.0.0.1:0"))
	if k, err := n.Store(t.Context(), Client{strings.Repeat("x", maxName+1), s}); k != 0 || err == nil {
		t.Errorf("stored %d, %v", k, err)
	}
	m.want()
}
