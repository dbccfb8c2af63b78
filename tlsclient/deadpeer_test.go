package tlsclient_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// deaf makes the kernel drop everything that arrives for the connection, as if its host
// were gone: no acknowledgement, no reset.
func deaf(t *testing.T, c *tlstest.Conn) {
	drop := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}}
	setOption(t, c, func(fd int) error { return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &drop) })
}

// acknowledge makes the kernel acknowledge at once what has come, tcp(7).
func acknowledge(t *testing.T, c *tlstest.Conn) {
	setOption(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}

func setOption(t *testing.T, c *tlstest.Conn, set func(fd int) error) {
	raw, err := c.TCP.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) { failed = set(int(fd)) })
		err = errors.Join(err, failed)
	}
	if err != nil {
		t.Error(err)
	}
}

// Of two connections one dies while it is idle, so that the next request is never
// acknowledged, and one while an answer is awaited, so that nothing is under way.
func TestFaultDeadPeerIsNoticedWithinFifteenSeconds(t *testing.T) {
	var both, dead sync.WaitGroup
	both.Add(2)
	dead.Add(1)
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		both.Done()
		if both.Wait(); c.Write(tlstest.OK) != nil {
			return
		}
		if c.Index == 0 {
			deaf(t, c)
			dead.Done()
		} else if _, err := c.ReadRequest(); err == nil {
			acknowledge(t, c)
			deaf(t, c)
		}
		<-c.Stopping()
	}, func(o *tlsclient.Options) { o.HeaderTimeout = time.Minute })
	_, wait := f.many(2)
	wait()
	dead.Wait()
	begin := time.Now()
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			a := f.do(f.request("POST"))
			took := time.Since(begin)
			t.Logf("%v after %v", a.err, took.Round(10*time.Millisecond))
			var e *tlsclient.Error
			if !errors.As(a.err, &e) || e.Class != tlsclient.UpstreamReset || took < 5*time.Second || took > 15*time.Second {
				t.Errorf("got %v after %v", a.err, took)
			}
		})
	}
	running.Wait()
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// long is a bound of a write to a tunnel that no test reaches.
var long = time.Now().Add(time.Hour)

// fading takes a whole request, says so, and then is what its path names.
func fading(t *testing.T, room <-chan struct{}) tlstest.Script {
	return func(c *tlstest.Conn) {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if _, err := c.ReadBody(r); err != nil {
			return
		}
		begin := switching
		if r.URL.Path == "/upload" {
			begin = "HTTP/1.1 103 Early Hints\r\n\r\n"
		}
		if c.Write(begin) != nil {
			return
		}
		if r.URL.Path == "/full" {
			<-room
			if _, err := io.CopyN(io.Discard, c.R, full); err == nil {
				c.Write("thanks")
			}
		} else {
			delivered(t, c)
			acknowledge(t, c)
			deaf(t, c)
		}
		<-c.Stopping()
	}
}

// delivered returns once all that was written has been acknowledged: what a deaf peer sends
// again and again is a sign of life.
func delivered(t *testing.T, c *tlstest.Conn) {
	for unacked := uint32(1); unacked > 0; c.Pause(time.Millisecond) {
		setOption(t, c, func(fd int) error {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			unacked = 0
			if err == nil {
				unacked = info.Unacked
			}
			return err
		})
	}
}

// full is more than fits between two ends of which one takes nothing.
const full = 32 << 20

// All are looked at side by side: each takes its time.
func TestFaultDeadPeerIsNotTakenForASlowOne(t *testing.T) {
	room := make(chan struct{})
	f := start(t, fading(t, room), func(o *tlsclient.Options) { o.HeaderTimeout, o.BodyIdleTimeout = time.Hour, time.Hour })
	inTime := func(t *testing.T, begin time.Time, err error) {
		t.Helper()
		took := time.Since(begin)
		t.Logf("%v after %v", err, took.Round(10*time.Millisecond))
		var e *tlsclient.Error
		if !errors.As(err, &e) || e.Class != tlsclient.UpstreamReset || e.Fault != tlsclient.FaultUpstream || took < 5*time.Second || took > 15*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	}
	t.Run("tunnel to a dead one", func(t *testing.T) {
		t.Parallel()
		tunnel := f.upgradeAt(t, "/dead")
		over := make(chan error, 1)
		go func() {
			_, _, err := tunnel.Read(new(rawconn.Buffers))
			over <- err
		}()
		begin := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if err := tunnel.Write([]byte("ping"), long); err != nil || time.Since(begin) > 20*time.Second {
				tunnel.Cut()
				inTime(t, begin, <-over)
				return
			}
			<-tick.C
		}
	})
	t.Run("tunnel to a slow one", func(t *testing.T) {
		t.Parallel()
		tunnel := f.upgradeAt(t, "/full")
		written := make(chan error, 1)
		go func() {
			var err error
			for p, n := make([]byte, 16<<10), 0; n < full && err == nil; n += len(p) {
				err = tunnel.Write(p, long)
			}
			written <- err
		}()
		select {
		case err := <-written:
			t.Errorf("the writing ended with %v", err)
		case <-time.After(15 * time.Second): // nothing moves meanwhile
		}
		close(room)
		if buf, n, err := tunnel.Read(new(rawconn.Buffers)); err != nil || string(buf[:n]) != "thanks" {
			t.Errorf("the tunnel says %q, %v", buf[:n], err)
		}
	})
	t.Run("answer of a dead one to an upload", func(t *testing.T) {
		t.Parallel()
		alone := &fixture{upstream: f.upstream}
		req := alone.post(http1.Chunked, 0, strings.NewReader(chunked("hello", 5)), false)
		req.Target = []byte("/upload")
		begin := time.Now()
		gaveUp := errors.New("the test gave up")
		defer time.AfterFunc(20*time.Second, func() { alone.client.abandoned.Store(&gaveUp) }).Stop()
		inTime(t, begin, alone.do(req).err)
	})
}

// upgradeAt makes a tunnel of an exchange of its own.
func (f *fixture) upgradeAt(t *testing.T, target string) *tlsclient.Tunnel {
	t.Helper()
	req, a := f.request("GET"), new(answer)
	req.Target, req.WebSocket = []byte(target), true
	if err := f.upstream.Do(req, &a.Response); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a.Tunnel()
}

// island is a network namespace with a cable to it. Whoever is on it has one address.
type island struct {
	name  string
	cable string     // our end
	shore netip.Addr // our address
	peer  netip.Addr // its own
}

// newIsland skips the test where there can be none. The names tell one process's from
// those of others, and the subnet is one that no route of this host knows.
func newIsland(t *testing.T) *island {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root may make a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("SKIP:", err)
	}
	pid := os.Getpid()
	i := &island{name: fmt.Sprint("mtlsproxy-test-", pid), cable: fmt.Sprint("mtp", pid, "a")}
	i.shore, i.peer = unroutedPair(t)
	far := fmt.Sprint("mtp", pid, "b")
	t.Cleanup(func() { // the cable goes with its far end, but perhaps it was not laid
		_, _ = ip("link", "del", i.cable)
		_, _ = ip("netns", "del", i.name)
	})
	for _, step := range []string{
		"netns add " + i.name,
		"link add " + i.cable + " type veth peer name " + far + " netns " + i.name,
		"addr add " + i.shore.String() + "/30 dev " + i.cable,
		"link set " + i.cable + " up",
		"-n " + i.name + " addr add " + i.peer.String() + "/30 dev " + far,
		"-n " + i.name + " link set " + far + " up",
	} {
		if out, err := ip(strings.Fields(step)...); err != nil {
			t.Skipf("SKIP: ip %s: %v: %s", step, err, out)
		}
	}
	return i
}

func ip(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// unroutedPair is both hosts of a random subnet of 10.0.0.0/8 about which this host knows
// nothing but perhaps the way to the rest of the world.
func unroutedPair(t *testing.T) (a, b netip.Addr) {
	t.Helper()
	for range 20 {
		n := rand.Uint32N(1<<22) << 2
		at := [4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}
		subnet := netip.AddrFrom4(at).String() + "/30"
		over, err := ip("-4", "route", "show", "table", "all", "match", subnet)
		if err != nil {
			t.Skip("SKIP: ip route:", err, over)
		}
		within, err := ip("-4", "route", "show", "table", "all", "root", subnet)
		if err == nil && within == "" && (over == "" || strings.HasPrefix(over, "default ") && !strings.Contains(over, "\n")) {
			a = netip.AddrFrom4(at).Next()
			return a, a.Next()
		}
	}
	t.Skip("SKIP: this host has routes to all of 10.0.0.0/8")
	return a, b
}

// inside runs f on the island: sockets that f makes stay there. A thread that cannot
// return ends with the goroutine that it is locked to.
func (i *island) inside(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + i.name)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Skip("SKIP: entering a network namespace:", err)
	}
	f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	runtime.UnlockOSThread()
}

// die takes the peer's address away, so that nothing is answered any more.
func (i *island) die(t *testing.T) {
	t.Helper()
	if out, err := ip("-n", i.name, "addr", "flush", "to", i.peer.String()+"/30"); err != nil {
		t.Fatalf("taking the address away: %v: %s", err, out)
	}
}

// mourned is a server that answers, says that it has a request, or sends without end.
func mourned(c *tlstest.Conn) {
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		switch r.URL.Path {
		case "/wait":
			// It brings the acknowledgement of the request with it.
			if c.Write("HTTP/1.1 103 Early Hints\r\n\r\n") != nil {
				return
			}
			<-c.Stopping()
			return
		case "/download":
			err = c.Write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			for err == nil && c.Pause(5*time.Millisecond) {
				err = c.Write("0123456789")
			}
			return
		}
		if c.Write(tlstest.OK) != nil {
			return
		}
	}
}

// hearing is a client that tells when an informational response has come.
type hearing struct {
	client
	heard chan struct{}
}

func (h *hearing) Informational(*http1.Response) error {
	close(h.heard)
	return nil
}

// await begins an exchange that will wait for its answer, and returns once the request has
// been acknowledged, with the way to its end.
func (f *fixture) await(t *testing.T) (end func() error) {
	t.Helper()
	h, done := &hearing{heard: make(chan struct{})}, make(chan error, 1)
	req := f.request("POST")
	req.Target, req.Client = []byte("/wait"), h
	go func() { done <- f.do(req).err }()
	select {
	case <-h.heard:
	case err := <-done:
		t.Fatalf("the exchange that is to wait: %v", err)
	}
	return func() error { return <-done }
}

// download begins one and returns once it moves, with the way to its end.
func (f *fixture) download(t *testing.T) (end func() error) {
	t.Helper()
	a, req := new(answer), f.request("GET")
	req.Target = []byte("/download")
	err := f.upstream.Do(req, &a.Response)
	if err == nil {
		_, err = a.Next()
	}
	if err != nil {
		t.Fatalf("the download: %v", err)
	}
	return func() error {
		defer a.Close()
		a.read()
		return a.err
	}
}

// leaveIdle leaves n idle connections behind.
func (f *fixture) leaveIdle(t *testing.T, n int) {
	t.Helper()
	all := make([]answer, n)
	for i := range all {
		if err := f.upstream.Do(f.request("GET"), &all[i].Response); err != nil {
			t.Fatal(err)
		}
	}
	for i := range all {
		all[i].read()
		all[i].Close()
	}
	if s := f.upstream.State(); s.Idle != n {
		t.Fatalf("%d connections are idle, not %d", s.Idle, n)
	}
}

// idleGone returns once no connection is idle.
func (f *fixture) idleGone() error {
	for end := time.Now().Add(20 * time.Second); f.upstream.State().Idle > 0; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("it is still there")
		}
	}
	return nil
}

// The whole host is gone: it answers not even those who ask for its hardware address.
func TestDeadHostIsNoticedWithinFifteenSeconds(t *testing.T) {
	const within = 15 * time.Second
	i := newIsland(t)
	var f *fixture
	i.inside(t, func() {
		f = startServer(t, tlstest.ServerOptions{Script: mourned, Address: i.peer.String() + ":0"},
			func(o *tlsclient.Options) {
				o.ServerName, o.HeaderTimeout, o.BodyIdleTimeout = "upstream.test", time.Minute, time.Minute
			})
	})
	made := time.Now()
	waited, moved := f.await(t), f.download(t)
	<-time.After(time.Until(made.Add(800 * time.Millisecond))) // so that it dies shortly before the look that is taken each second
	f.leaveIdle(t, 2)                                          // the one that is used for the exchange begun afterwards, and another
	begin := time.Now()
	i.die(t)
	var running sync.WaitGroup
	for what, end := range map[string]func() error{
		"the exchange that waited":       waited,
		"the download that moved":        moved,
		"the exchange begun after death": func() error { return f.do(f.request("POST")).err },
	} {
		running.Go(func() {
			err := end()
			took := time.Since(begin)
			t.Logf("%s: %v after %v", what, err, took.Round(10*time.Millisecond))
			var e *tlsclient.Error
			if !errors.As(err, &e) || e.Fault != tlsclient.FaultUpstream || took < 5*time.Second || took > within {
				t.Errorf("%s got %v after %v", what, err, took)
			}
		})
	}
	running.Go(func() {
		err := f.idleGone()
		took := time.Since(begin)
		t.Logf("the idle connection was gone after %v", took.Round(10*time.Millisecond))
		if err != nil || took > within {
			t.Errorf("the idle connection: %v after %v", err, took)
		}
	})
	running.Wait()
	if s := f.upstream.State(); s.Open != 0 || s.Closed["peer"] != 1 || s.Opened != 4 {
		t.Errorf("afterwards the upstream is %+v", s)
	}
}
