package sd

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenersAreTakenByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	web, local, admin := listen(t, "tcp", "127.0.0.1:0"), listen(t, "unix", path), listen(t, "unix", path+"a")
	r := pass(t, []socket{
		{"admin", file(t, admin.(*net.UnixListener))},
		{"http", file(t, web.(*net.TCPListener))},
		{"http", file(t, local.(*net.UnixListener))},
	})
	want := []string{"admin unix " + path + "a", "http tcp " + web.Addr().String(), "http unix " + path}
	if !slices.Equal(r.Listeners, want) || len(r.Rejected) > 0 || r.Note != "" {
		t.Errorf("%+v, want %q", r, want)
	}
	if len(r.Env) > 0 {
		t.Errorf("left in the environment: %q", r.Env)
	}
	if !slices.Equal(r.Names, []string{"admin", "http"}) {
		t.Errorf("names %q", r.Names)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing a listener has removed its path: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("closing a copy has closed the socket: %v", err)
	}
	c.Close()
}

func TestSocketsWithoutNamesAreToldByTheirFamily(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	web, local := listen(t, "tcp", "[::1]:0"), listen(t, "unix", path)
	r := pass(t, []socket{{"", file(t, web.(*net.TCPListener))}, {"", file(t, local.(*net.UnixListener))}})
	want := []string{"http tcp " + web.Addr().String(), "admin unix " + path}
	if !slices.Equal(r.Listeners, want) {
		t.Errorf("%+v, want %q", r, want)
	}
}

func TestAnAbstractSocketListens(t *testing.T) {
	l := listen(t, "unix", "@mtlsproxy-sd-"+filepath.Base(t.TempDir())+filepath.Base(os.Args[0]))
	r := pass(t, []socket{{"http", file(t, l.(*net.UnixListener))}})
	if want := []string{"http unix " + l.Addr().String()}; !slices.Equal(r.Listeners, want) {
		t.Errorf("%+v, want %q", r, want)
	}
}

func TestForeignDescriptorsAreClosedAndReported(t *testing.T) {
	dir := t.TempDir()
	make := made(t)
	web := listen(t, "tcp", "127.0.0.1:0")
	client, _ := pair(t, web)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	plain, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	bound := make(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	seqpacket := make(unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0))
	if err := unix.Bind(int(seqpacket.Fd()), &unix.SockaddrUnix{Name: filepath.Join(dir, "q")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		socket
		what, why string
	}{
		{socket{"admin", file(t, web.(*net.TCPListener))}, "listening IPv4 stream socket " + web.Addr().String(), "must be a unix socket"},
		{socket{"clients", file(t, web.(*net.TCPListener))}, "listening", "choose another"},
		{socket{"http", file(t, client.(*net.TCPConn))}, "connected IPv4 stream socket " + client.LocalAddr().String(), "Accept=no"},
		{socket{"clients", file(t, client.(*net.TCPConn))}, "connected IPv4", "process before"},
		{socket{"http", file(t, udp.(*net.UDPConn))}, "IPv4 datagram socket " + udp.LocalAddr().String(), "ListenStream="},
		{socket{"http", seqpacket}, "unix seqpacket socket " + filepath.Join(dir, "q"), "ListenStream="},
		{socket{"http", bound}, "IPv4 stream socket 0.0.0.0:0", "nothing listens"},
		{socket{"http", plain}, "file " + plain.Name(), "ListenStream="},
		{socket{"http", r}, "pipe pipe:[", "ListenStream="},
		{socket{"stored", make(unix.MemfdCreate("counters", 0))}, "file /memfd:counters", "ListenStream="},
		{socket{"http", make(unix.Open("/dev/null", unix.O_RDWR, 0))}, "device /dev/null", "ListenStream="},
		{socket{"http", make(unix.Open(dir, unix.O_RDONLY, 0))}, "directory " + dir, "ListenStream="},
		{socket{"http", make(unix.EpollCreate1(0))}, "anonymous file anon_inode:[eventpoll]", "ListenStream="},
		{socket{"http", make(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0))}, "netlink raw socket", "ListenStream="},
	} {
		got := pass(t, []socket{c.socket})
		if len(got.Rejected) != 1 || len(got.Listeners)+len(got.Clients) > 0 {
			t.Errorf("%s: %+v", c.what, got)
			continue
		}
		x := got.Rejected[0]
		if x.Name != c.name || !strings.HasPrefix(x.What, c.what) || !strings.Contains(x.Why, c.why) || x.Gone {
			t.Errorf("%s: rejected %+v", c.what, x)
		}
		if !slices.Equal(got.Stored, []string{c.name}) {
			t.Errorf("%s: to be removed from the store: %q", c.what, got.Stored)
		}
	}
}

func TestOneForeignDescriptorDoesNotHoldUpTheOthers(t *testing.T) {
	web := listen(t, "tcp", "127.0.0.1:0")
	r := pass(t, []socket{{"stored", made(t)(unix.MemfdCreate("x", 0))}, {"http", file(t, web.(*net.TCPListener))}})
	if len(r.Listeners) != 1 || len(r.Rejected) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestADescriptorThatIsNotOpenIsReported(t *testing.T) {
	p := &Passed{}
	p.add("http", os.NewFile(1<<20, "http"))
	if len(p.Rejected) != 1 || !strings.Contains(p.Rejected[0].What, "not open") {
		t.Errorf("%+v", p)
	}
}

func TestOnlyNamesThatAreWantedAreKept(t *testing.T) {
	web, other := listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", "127.0.0.1:0")
	r := pass(t, []socket{{"http", file(t, web.(*net.TCPListener))}, {"mtlsproxy.socket", file(t, other.(*net.TCPListener))}}, keepVariable+"=http internal")
	if !slices.Equal(r.Names, []string{"http"}) || len(r.Rejected) != 1 {
		t.Fatalf("%+v", r)
	}
	x := r.Rejected[0]
	if x.Name != "mtlsproxy.socket" || !strings.Contains(x.What, other.Addr().String()) || !strings.Contains(x.Why, "the names are http, internal: set FileDescriptorName=") {
		t.Errorf("rejected %+v", x)
	}
}

func TestDescriptorsOfAnotherProcessAreLeftAlone(t *testing.T) {
	web := listen(t, "tcp", "127.0.0.1:0")
	r := passOthers(t, []socket{{"http", file(t, web.(*net.TCPListener))}}, "LISTEN_PID=1")
	if len(r.Listeners)+len(r.Rejected) > 0 || !strings.Contains(r.Note, `LISTEN_PID="1" is not this process`) {
		t.Errorf("%+v", r)
	}
	r = passOthers(t, nil, "LISTEN_FDS=many")
	if !strings.Contains(r.Note, `LISTEN_FDS="many"`) {
		t.Errorf("note %q", r.Note)
	}
	if r = passOthers(t, nil, "LISTEN_FDS="); r.Note != "" {
		t.Errorf("note %q", r.Note)
	}
}
