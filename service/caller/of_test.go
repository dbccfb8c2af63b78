package caller

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// unixPair returns both ends of a connection to a unix socket.
func unixPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err = net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func ourGroups(t *testing.T) []uint32 {
	t.Helper()
	supplementary, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	out := []uint32{uint32(os.Getegid())}
	for _, g := range supplementary {
		out = append(out, uint32(g))
	}
	return sorted(out)
}

func sorted(gids []uint32) []uint32 { return slices.Compact(slices.Sorted(slices.Values(gids))) }

func TestOfUnixIsWhoConnected(t *testing.T) {
	near, _ := unixPair(t)
	c, err := Of(near)
	if err != nil {
		t.Fatal(err)
	}
	if int(c.UID) != os.Geteuid() || int(c.PID) != os.Getpid() || int(c.GIDs[0]) != os.Getegid() {
		t.Errorf("got %+v, want uid %d, pid %d and gid %d", c, os.Geteuid(), os.Getpid(), os.Getegid())
	}
	if got, want := sorted(c.GIDs), ourGroups(t); !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
}

func TestOfUnixOutlivesThePeer(t *testing.T) {
	near, far := unixPair(t)
	far.Close()
	if c, err := Of(near); err != nil || int(c.UID) != os.Geteuid() {
		t.Errorf("got %+v, %v; want the credentials at the time of the connect", c, err)
	}
}

func TestOfTCPIsTheOwnerOfTheSocket(t *testing.T) {
	for name, dial := range map[string]struct{ network, listen, dial string }{
		"IPv4":        {"tcp4", "127.0.0.1:0", "127.0.0.1"},
		"IPv6":        {"tcp6", "[::1]:0", "::1"},
		"both, by v4": {"tcp", "[::]:0", "127.0.0.1"},
		"both, by v6": {"tcp", "[::]:0", "::1"},
		"v4 as v6":    {"tcp", "[::]:0", "::ffff:127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			near, _ := pairTo(t, dial.network, dial.listen, dial.dial)
			c, err := Of(near)
			if err != nil || int(c.UID) != os.Geteuid() || c.PID != 0 {
				t.Errorf("got %+v, %v; want uid %d and no pid", c, err, os.Geteuid())
			}
		})
	}
}

// A socket of the v6 family may carry IPv4, with an address of its own form.
func TestOfTCPFromASocketOfTheOtherFamily(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("SKIP no IPv6 sockets: %v", err)
	}
	defer syscall.Close(fd)
	to := &syscall.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port}
	copy(to.Addr[:], net.ParseIP("127.0.0.1").To16())
	if err := syscall.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if c, err := Of(near); err != nil || int(c.UID) != os.Geteuid() {
		t.Errorf("got %+v, %v; want uid %d", c, err, os.Geteuid())
	}
}

func TestOfTCPThatIsClosedIsAnError(t *testing.T) {
	near, far := pair(t, "tcp4", "127.0.0.1:0")
	far.Close()
	c, err := Of(near)
	if err == nil || c.UID != None {
		t.Errorf("got %+v, %v; want an error and no uid", c, err)
	}
	var d Diag
	defer d.Close()
	if uid, err := d.UID(near); err == nil || uid != None {
		t.Errorf("UID: got %d, %v; want an error and no uid", uid, err)
	}
}

// fromElsewhere looks as if it came from another host.
type fromElsewhere struct{ *net.TCPConn }

func (fromElsewhere) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
}

func TestOfTCPFromElsewhereIsAnError(t *testing.T) {
	near, _ := pair(t, "tcp4", "127.0.0.1:0")
	if c, err := Of(fromElsewhere{near}); err == nil || c.UID != None || !strings.Contains(err.Error(), "192.0.2.1:4711") {
		t.Errorf("got %+v, %v; want an error that names the address, and no uid", c, err)
	}
}

// onPortOf looks as if its client had the port of a listener.
type onPortOf struct {
	*net.TCPConn
	l net.Listener
}

func (c onPortOf) RemoteAddr() net.Addr { return c.l.Addr() }

func TestOfTCPDoesNotTakeAListenerForTheCaller(t *testing.T) {
	near, _ := pair(t, "tcp4", "127.0.0.1:0")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := Of(onPortOf{near, l}); err == nil || c.UID != None {
		t.Errorf("got %+v, %v; want an error and no uid", c, err)
	}
}

func TestOfOtherKindsOfConnectionIsAnError(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if c, err := Of(a); err == nil || c.UID != None {
		t.Errorf("got %+v, %v; want an error and no uid", c, err)
	}
}

func TestDiagAnswersFromSeveralGoroutinesAndAfterClose(t *testing.T) {
	var d Diag
	defer d.Close()
	near, _ := pair(t, "tcp4", "127.0.0.1:0")
	done := make(chan error)
	for range 8 {
		go func() {
			for range 50 {
				if uid, err := d.UID(near); err != nil || int(uid) != os.Geteuid() {
					done <- fmt.Errorf("uid %d, %w", uid, err)
					return
				}
			}
			d.Close()
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// child connects to l as another user, and is gone when the test ends.
func child(t *testing.T, l net.Listener, cred *syscall.Credential) net.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root can start a process as another user")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe") // its directory may be closed to that user
	cmd.Env = []string{dialVariable + "=" + l.Addr().Network() + " " + l.Addr().String()}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		l.Close() // or Accept would wait for a child that could not connect
		close(ended)
	}()
	t.Cleanup(func() { stdin.Close(); <-ended })
	near, err := l.Accept()
	if err != nil {
		t.Fatal("the child did not connect: ", err)
	}
	t.Cleanup(func() { near.Close() })
	return near
}

const (
	nobody = 65534
	extra  = 4242 // a group that nothing else has
)

func TestOfUnixSeesAnotherUser(t *testing.T) {
	l, err := net.Listen("unix", fmt.Sprintf("@caller-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near := child(t, l, &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{extra, extra + 1}})
	c, err := Of(near)
	if err != nil || c.UID != nobody || !slices.Equal(c.GIDs, []uint32{nobody, extra, extra + 1}) || c.PID == 0 {
		t.Errorf("got %+v, %v; want uid %d, its groups and a pid", c, err, nobody)
	}
	allowed, err := NewSet([]string{fmt.Sprint("gid:", extra)})
	if err != nil || !allowed.Allows(c) {
		t.Errorf("a member of group %d is not allowed (%v)", extra, err)
	}
}

func TestOfUnixSeesMoreGroupsThanMostHave(t *testing.T) {
	l, err := net.Listen("unix", fmt.Sprintf("@caller-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := []uint32{nobody}
	for g := uint32(extra); g < extra+1000; g++ {
		want = append(want, g)
	}
	near := child(t, l, &syscall.Credential{Uid: nobody, Gid: nobody, Groups: want[1:]})
	if c, err := Of(near); err != nil || !slices.Equal(c.GIDs, want) {
		t.Errorf("got %d groups, %v; want %d", len(c.GIDs), err, len(want))
	}
}

func TestOfTCPSeesAnotherUser(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near := child(t, l, &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{extra}})
	c, err := Of(near)
	if err != nil || c.UID != nobody || c.PID != 0 {
		t.Errorf("got %+v, %v; want uid %d", c, err, nobody)
	}
	if slices.Contains(c.GIDs, extra) {
		t.Errorf("group %d is of the process and not of the user database: %v", extra, c.GIDs)
	}
}

func TestOfTCPOfAUserWithoutAnEntryHasNoGroups(t *testing.T) {
	const unlisted = 3_999_999_999
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near := child(t, l, &syscall.Credential{Uid: unlisted, Gid: nobody})
	if c, err := Of(near); err != nil || c.UID != unlisted || len(c.GIDs) != 0 {
		t.Errorf("got %+v, %v; want uid %d without groups", c, err, uint32(unlisted))
	}
}
