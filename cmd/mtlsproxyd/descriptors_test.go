package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// spent is what the kernel says when a process has no descriptor left.
const spent = "too many open files"

// confined is a daemon that may have few files open from its first moment on. The soft
// limit alone would not do: Go raises it to the hard one.
func confined(t *testing.T, most int, text string) *tended {
	t.Helper()
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "mtlsproxy.toml"), filepath.Join(dir, "admin.sock")
	must(t, os.WriteFile(file, []byte("[listener.http]\naddress = \"127.0.0.1:0\"\n"+text), 0o600))
	exe, err := os.Executable()
	must(t, err)
	inner := command(t, dir)
	limited := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, most)
	cmd := exec.Command("/bin/sh", "-c", limited, exe, "--config", file, "--set", "admin.address="+socket)
	cmd.Dir, cmd.Env = inner.Dir, inner.Env
	d := &tended{daemon: launch(t, cmd), admin: api.NewClient(socket)}
	t.Cleanup(d.admin.Close)
	return d
}

// patient is an upstream that answers at once but for /wait, which it answers when it is
// told to, and the configuration that leads to it.
func patient(t *testing.T, more ...string) (u *tlstest.Server, text string, answer func()) {
	t.Helper()
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	told := make(chan struct{})
	u = tlstest.NewHTTPServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			select {
			case <-told:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "ok") // whoever asked may be gone
	}))
	answer = sync.OnceFunc(func() { close(told) })
	t.Cleanup(answer)
	dir := t.TempDir()
	ca.Client(t, "client").WriteFiles(t, dir, ca)
	return u, account{}.in(dir).table("app", u.Addr, more...), answer
}

// What the clients of a crowd send, in turn.
var manners = [...]string{
	"", // and stay
	"GET / HTTP/1.1\r\nHost: app.test\r\nX-Half: ",
	"GET /wait HTTP/1.1\r\nHost: app.test\r\n\r\n",
}

// crowd is clients that come at once, and what became of them.
type crowd struct {
	all                  sync.WaitGroup
	told, closed, served atomic.Int64
	hungry               atomic.Int64 // have sent a whole request, and know nothing yet

	mu      sync.Mutex
	inside  []net.Conn
	strange []string
}

func gather(addr string, n int) *crowd {
	c := new(crowd)
	doors := make(chan struct{})
	for i := range n {
		c.all.Go(func() {
			<-doors
			c.come(addr, manners[i%len(manners)])
		})
	}
	close(doors)
	return c
}

// come is one client, until it is answered or sent away.
func (c *crowd) come(addr, text string) {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		c.wonder(err.Error())
		return
	}
	c.mu.Lock()
	c.inside = append(c.inside, nc)
	c.mu.Unlock()
	if strings.HasSuffix(text, "\r\n\r\n") {
		c.hungry.Add(1)
		defer c.hungry.Add(-1)
	}
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // so that the test ends in any case
	_, _ = io.WriteString(nc, text)                 // it may be closed already
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	switch {
	case errors.Is(err, net.ErrClosed): // by leave
	case err != nil:
		c.closed.Add(1)
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Mtlsproxy-Error") == "overloaded":
		c.told.Add(1)
		_ = nc.Close() // it has what it came for
	case resp.StatusCode == http.StatusOK:
		c.served.Add(1)
	default:
		c.wonder(resp.Status + " " + resp.Header.Get("Mtlsproxy-Error"))
	}
}

func (c *crowd) wonder(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strange = append(c.strange, what)
}

// refused is how many know by now that there is no room for them.
func (c *crowd) refused() int64 { return c.told.Load() + c.closed.Load() }

// leave ends all that are left. It may be called again.
func (c *crowd) leave() {
	c.mu.Lock()
	for _, nc := range c.inside {
		_ = nc.Close() // it may be closed already
	}
	c.mu.Unlock()
	c.all.Wait()
}

// operator asks for the status again and again, each time on a connection of its own.
type operator struct {
	stop    func() // returns when the last answer is there
	asked   int
	slowest time.Duration
	most    int // descriptors that the daemon had
	err     error
}

func operate(t *testing.T, d *tended) *operator {
	t.Helper()
	o, home, done := new(operator), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for o.err == nil {
			o.ask(d)
			select {
			case <-home:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	o.stop = sync.OnceFunc(func() { close(home); <-done })
	t.Cleanup(o.stop)
	return o
}

func (o *operator) ask(d *tended) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	admin := api.NewClient(d.admin.Socket())
	defer admin.Close()
	begin := time.Now()
	_, o.err = admin.Status(ctx)
	o.asked++
	o.slowest = max(o.slowest, time.Since(begin))
	if o.err == nil {
		o.most = max(o.most, d.files())
	}
}

// files is how many the daemon has open; 0 if it has ended.
func (d *daemon) files() int {
	all, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	return len(all)
}

// seats is the bound on client connections, with its use.
func (d *tended) seats(t *testing.T) api.Limit {
	t.Helper()
	all, err := d.admin.Limits(t.Context())
	must(t, err)
	for _, l := range all {
		if l.Name == "limits.connections" {
			return l
		}
	}
	t.Fatal("there is no limits.connections")
	return api.Limit{}
}

// serves reports whether a client that comes now is served.
func (d *daemon) serves() bool {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	request, err := http.NewRequest(http.MethodGet, "http://"+d.addr+"/", nil)
	if err != nil {
		return false
	}
	request.Host = "app.test"
	resp, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // the status says it all
	return resp.StatusCode == http.StatusOK
}

// What is kept back of the descriptors is the operator's and that of the exchanges under
// way: however many clients come, and however they behave.
func TestDescriptorsRunOutForClientsAlone(t *testing.T) {
	leak.Check(t)
	const files, clients = 400, 600
	upstream, text, answer := patient(t, "pool.max = 48", "pool.idle = 48")
	d := confined(t, files, text+"[limits]\nheader_timeout = \"5m\"\nidle_timeout = \"5m\"\n")
	o := operate(t, d)
	begin := time.Now()
	c := gather(d.addr, clients)
	defer c.leave()
	room := d.seats(t).Capacity
	if room >= clients {
		t.Fatalf("there is room for %d connections, so for all %d", room, clients)
	}
	must(t, until(10*time.Second, "all beyond the bound are told, or closed", func() bool { return c.refused() >= clients-room }))
	t.Logf("%d told and %d closed after %v, with room for %d", c.told.Load(), c.closed.Load(), time.Since(begin).Round(time.Millisecond), room)
	if used := d.seats(t).Used; c.refused() != clients-room || used != room {
		t.Errorf("%d of %d are refused, and %d are inside, with room for %d", c.refused(), clients, used, room)
	}
	must(t, until(5*time.Second, "the upstream has what those inside asked for", func() bool { return int64(upstream.Stats().Requests) == c.hungry.Load() }))
	answer()
	must(t, until(5*time.Second, "those inside are answered", func() bool { return c.hungry.Load() == 0 }))
	c.leave()
	left := time.Now()
	must(t, until(time.Second, "a new client is served", d.serves))
	o.stop()
	t.Logf("%d of those inside were answered; a new client %v after they left; %d answers to the operator, in %v at most; at most %d descriptors of %d",
		c.served.Load(), time.Since(left).Round(time.Millisecond), o.asked, o.slowest.Round(time.Millisecond), o.most, files)
	if o.err != nil || o.slowest > time.Second {
		t.Errorf("the admin socket took %v, and ended with %v", o.slowest, o.err)
	}
	if c.served.Load() == 0 || len(c.strange) > 0 {
		t.Errorf("%d were answered, and others met with %q", c.served.Load(), c.strange)
	}
	if strings.Contains(d.output.String(), spent) {
		t.Error("the daemon had no descriptor left")
	}
}

// limitFiles sets the soft limit of the running daemon and returns what it was.
func (d *daemon) limitFiles(t *testing.T, most uint64) (was uint64) {
	t.Helper()
	var limit unix.Rlimit
	must(t, unix.Prlimit(d.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &limit))
	was, limit.Cur = limit.Cur, most
	must(t, unix.Prlimit(d.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil))
	return was
}

// worked is how long the daemon has used a processor, proc_pid_stat(5).
func (d *daemon) worked(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	must(t, err)
	const user, system, tick = 14 - 3, 15 - 3, 10 * time.Millisecond // behind the name, which may have spaces
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var sum time.Duration
	for _, at := range [...]int{user, system} {
		n, err := strconv.Atoi(fields[at])
		must(t, err)
		sum += time.Duration(n) * tick
	}
	return sum
}

// Not even the reserve is there: the limit is lowered under the daemon's feet. Whoever
// comes waits in the backlog, and the daemon waits as well rather than ask all the time.
func TestDescriptorsRunOutAndAcceptingGoesOnOnceThereAreSome(t *testing.T) {
	leak.Check(t)
	const clients = 32
	_, text, _ := patient(t)
	d := tend(t, account{}, text)
	if !d.serves() {
		t.Fatal("it does not serve")
	}
	had := d.files()
	before := d.limitFiles(t, uint64(had+2))
	var waiting []net.Conn
	for range clients {
		nc, err := net.Dial("tcp", d.addr)
		must(t, err)
		defer nc.Close()
		waiting = append(waiting, nc)
	}
	d.said(t, spent)
	worked := d.worked(t)
	pause(time.Second) // the time over which the work is measured
	worked = d.worked(t) - worked
	if worked >= 300*time.Millisecond {
		t.Errorf("in a second without a descriptor it worked for %v", worked)
	}
	if inside := d.files() - had; inside >= clients {
		t.Errorf("all %d are inside: nobody had to wait", inside)
	}
	again := time.Now()
	d.limitFiles(t, before)
	for i, nc := range waiting {
		must(t, nc.SetDeadline(time.Now().Add(5*time.Second)))
		_, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("client %d that waited got %v, %v", i, resp, err)
		}
	}
	t.Logf("it worked for %v in that second; those that waited were served after %v", worked, time.Since(again).Round(time.Millisecond))
	if !d.serves() {
		t.Error("a new client is not served")
	}
	if _, err := d.admin.Status(t.Context()); err != nil {
		t.Errorf("the admin socket: %v", err)
	}
}
