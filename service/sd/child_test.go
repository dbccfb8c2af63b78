package sd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childVariable makes a child of the test binary the process to which descriptors
// are passed. Its value is what it does with them: "report", or "answer" the clients
// first. keepVariable holds the names for Keep, if it is set.
const (
	childVariable = "SD_TEST_CHILD"
	keepVariable  = "SD_TEST_KEEP"
)

// report is what the child has found.
type report struct {
	Listeners []string // name, network and address
	Clients   []string // listener and network
	Rejected  []Rejected
	Stored    []string
	Note      string
	Env       []string // LISTEN_ variables that are left
	Open      []int    // passed descriptors that are still open
	Blocking  []string // what is kept and blocking, or inherited by children
	Names     []string
}

// child takes what is passed, as the daemon does, and prints a report.
func child() int {
	if os.Getenv("LISTEN_PID") == "" {
		os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	}
	var passed []int
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	for fd := firstFD; fd < firstFD+count; fd++ {
		passed = append(passed, fd)
	}
	var inodes []uint64
	for _, fd := range passed {
		inodes = append(inodes, inode(fd))
	}
	p := Take()
	var r report
	if keep, ok := os.LookupEnv(keepVariable); ok {
		p.Keep(strings.Fields(keep)...)
	}
	for _, l := range p.Listeners {
		r.Listeners = append(r.Listeners, l.Name+" "+l.Addr().Network()+" "+Address(l.Addr()))
		r.flags(l.Name, l.Listener)
	}
	for _, c := range p.Clients {
		r.Clients = append(r.Clients, c.Listener+" "+c.LocalAddr().Network())
		r.flags("client", c.Conn)
		if os.Getenv(childVariable) == "answer" {
			fmt.Fprintf(c, "served by %s\n", c.Listener)
		}
	}
	r.Rejected, r.Stored, r.Note, r.Names = p.Rejected, p.Stored(), p.Note, p.Names()
	p.Close()
	for i, fd := range passed {
		if n := inode(fd); n != 0 && n == inodes[i] {
			r.Open = append(r.Open, fd)
		}
	}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "LISTEN_") {
			r.Env = append(r.Env, e)
		}
	}
	if json.NewEncoder(os.Stdout).Encode(r) != nil {
		return 1
	}
	return 0
}

func inode(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

func (r *report) flags(name string, c any) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			fl, err1 := unix.FcntlInt(fd, unix.F_GETFL, 0)
			cl, err2 := unix.FcntlInt(fd, unix.F_GETFD, 0)
			if errors.Join(err1, err2) != nil || fl&unix.O_NONBLOCK == 0 || cl&unix.FD_CLOEXEC == 0 {
				r.Blocking = append(r.Blocking, name)
			}
		})
	}
	if err != nil {
		r.Blocking = append(r.Blocking, err.Error())
	}
}

// socket is what is passed, under a name.
type socket struct {
	name string
	file *os.File
}

// pass runs a child to which the sockets are passed.
func pass(t *testing.T, sockets []socket, env ...string) report {
	t.Helper()
	r := passOthers(t, sockets, env...)
	if len(r.Open) > 0 {
		t.Errorf("still open after all was closed: %d", r.Open)
	}
	return r
}

// passOthers is pass for descriptors that the child must not touch.
func passOthers(t *testing.T, sockets []socket, env ...string) report {
	t.Helper()
	var names []string
	cmd := exec.Command(os.Args[0])
	for _, s := range sockets {
		names = append(names, s.name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.file)
	}
	cmd.Env = append(os.Environ(), childVariable+"=report", fmt.Sprint("LISTEN_FDS=", len(sockets)), "LISTEN_FDNAMES="+strings.Join(names, ":"), "LISTEN_PIDFDID=1",
		"GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("the child: %v\n%s", err, &stderr)
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("the child said %q: %v", &stdout, err)
	}
	if len(r.Blocking) > 0 {
		t.Errorf("blocking, or inherited by children: %q", r.Blocking)
	}
	return r
}

// file returns a descriptor of its own for a listener or a connection.
func file(t *testing.T, c interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pair returns both ends of a connection by l.
func pair(t *testing.T, l net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// made returns a file for a descriptor that a system call has made.
func made(t *testing.T) func(fd int, err error) *os.File {
	return func(fd int, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "made")
		t.Cleanup(func() { f.Close() })
		return f
	}
}
