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

	"golang.org/x/sys/unix"
)

// handover stores clients and returns what the manager has of them.
func handover(t *testing.T, clients ...Client) []socket {
	t.Helper()
	n, m := notified(t)
	stop := m.serve()
	left, err := n.Store(t.Context(), clients...)
	kept := stop()
	if err != nil || len(left) > 0 {
		t.Fatalf("%d of %d were not stored: %v", len(left), len(clients), err)
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

// Whether this process serves is not yet certain when it sorts what was passed.
func TestClientsOfAListenerThatIsNoMoreAreLeftToTheNextProcess(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	_, s := pair(t, l)
	stored := handover(t, Client{"old", s})
	s.Close()
	if r := pass(t, stored, keepVariable+"=http"); len(r.Clients) != 1 || len(r.Rejected) > 0 {
		t.Errorf("%+v", r)
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
	left, err := n.Store(ctx, Client{"http", s})
	if len(left) != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d were not stored, error %v", len(left), err)
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
	if left, err := n.Store(t.Context(), Client{"http", a}); len(left) != 1 || err == nil {
		t.Errorf("%d were not stored, %v", len(left), err)
	}
	m.want()
}

func TestANameThatIsTooLongIsRefused(t *testing.T) {
	n, m := notified(t)
	_, s := pair(t, listen(t, "tcp", "127.0.0.1:0"))
	if left, err := n.Store(t.Context(), Client{strings.Repeat("x", maxName+1), s}); len(left) != 1 || err == nil {
		t.Errorf("%d were not stored, %v", len(left), err)
	}
	m.want()
}

// unpacked returns the clients in parcels.
func unpacked(t *testing.T, stored []socket) *Passed {
	t.Helper()
	p := &Passed{}
	for _, s := range stored {
		p.add(parcel, s.file)
	}
	t.Cleanup(p.Close)
	return p
}

// Taken as they come, they would fill the parcel with messages of one connection each.
func TestConnectionsOfInterleavedListenersFitIntoOneParcel(t *testing.T) {
	_, s := pair(t, listen(t, "unix", filepath.Join(t.TempDir(), "s")))
	var clients []Client
	for i := range 1200 {
		clients = append(clients, Client{[]string{"http", "other"}[i%2], s})
	}
	stored := handover(t, clients...)
	if p := unpacked(t, stored); len(stored) != 1 || len(p.Clients) != len(clients) {
		t.Errorf("%d of %d clients in %d parcels", len(p.Clients), len(clients), len(stored))
	}
}

func TestWhatDoesNotFitIntoAParcelGoesIntoTheNext(t *testing.T) {
	_, s := pair(t, listen(t, "unix", filepath.Join(t.TempDir(), "s")))
	var clients []Client
	for i := range 1200 { // each a message of its own
		clients = append(clients, Client{fmt.Sprintf("l%04d", i), s})
	}
	stored := handover(t, clients...)
	if p := unpacked(t, stored); len(stored) < 2 || len(p.Clients) != len(clients) {
		t.Errorf("%d of %d clients in %d parcels", len(p.Clients), len(clients), len(stored))
	}
}

func TestStoreSaysThatNoDescriptorIsLeft(t *testing.T) {
	n, _ := notified(t)
	_, s := pair(t, listen(t, "tcp", "127.0.0.1:0"))
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	highest, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(highest)
	low := limit
	low.Cur = uint64(highest) // all below are in use
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	left, err := n.Store(t.Context(), Client{"http", s})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "LimitNOFILE=") {
		t.Errorf("%d were not stored, error %v", len(left), err)
	}
}

func TestErrorsOfPackingSayWhatToDo(t *testing.T) {
	for err, want := range map[error]string{
		unix.ETOOMANYREFS: "raise LimitNOFILE= in the unit",
		unix.EMFILE:       "LimitNOFILE=",
		unix.ENFILE:       "fs.file-max",
	} {
		if got := packing("sendmsg", err); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v, want %q in it", got, want)
		}
	}
	if got := packing("sendmsg", unix.EAGAIN); !errors.Is(got, errParcelFull) {
		t.Errorf("%v, want that another parcel is begun", got)
	}
}

func TestClientsOfAStartThatFailsAreServedByTheNext(t *testing.T) {
	n, m := notified(t)
	c, s := pair(t, listen(t, "tcp", "127.0.0.1:0"))
	failing := unpacked(t, handover(t, Client{"http", s}))
	s.Close()
	stop := m.serve()
	if err := failing.Return(t.Context(), n); err != nil {
		t.Error(err)
	}
	var told []string
	var stored []socket
	for _, d := range stop() {
		told = append(told, d.text)
		for _, f := range d.files {
			stored = append(stored, socket{parcel, f})
		}
	}
	if want := []string{"FDSTOREREMOVE=1\nFDNAME=clients", "FDSTORE=1\nFDPOLL=0\nFDNAME=clients", "BARRIER=1"}; !slices.Equal(told, want) {
		t.Errorf("the manager was told %q, want %q", told, want)
	}
	if r := pass(t, stored, childVariable+"=answer"); len(r.Clients) != 1 {
		t.Errorf("%+v", r)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "served by http\n" {
		t.Errorf("got %q and %v", line, err)
	}
}

func TestAStartThatFailsWithoutAManagerClosesItsClients(t *testing.T) {
	c, s := pair(t, listen(t, "tcp", "127.0.0.1:0"))
	p := &Passed{Clients: []Client{{"http", s}}}
	if err := p.Return(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client sees %v", err)
	}
}
