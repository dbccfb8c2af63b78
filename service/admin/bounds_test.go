package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// request sends a request over c and returns the answer's status.
func request(c net.Conn, target string) (int, error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		var held []net.Conn
		for i := range maxConns - keptConns {
			w.uid.Store(reader + uint32(i/connsEach))
			held = append(held, w.connect(t))
			if status, err := request(held[i], "/v1/version"); status != http.StatusOK {
				t.Fatalf("connection %d: %d, %v", i+1, status, err)
			}
		}
		w.uid.Store(stranger)
		surplus := w.connect(t)
		if status, err := request(surplus, "/v1/version"); status != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d, %v", status, err)
		}
		if _, err := surplus.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("one too many stays open: %v", err)
		}
		for _, uid := range []uint32{0, uint32(os.Geteuid())} {
			w.uid.Store(uid)
			c := w.connect(t)
			if status, err := request(c, "/v1/version"); status != http.StatusOK {
				t.Errorf("uid %d is locked out: %d, %v", uid, status, err)
			}
			c.Close()
		}
		synctest.Wait()
		if l := w.server.Limits()[0]; l.Capacity != maxConns || l.Used != maxConns-keptConns || l.Rejected != 1 {
			t.Errorf("limits say %+v", l)
		}
		held[0].Close()
		synctest.Wait()
		w.uid.Store(stranger)
		if status, err := request(w.connect(t), "/v1/version"); status != http.StatusOK {
			t.Errorf("after one has gone: %d, %v", status, err)
		}
	})
}

func TestOneUserCannotHaveAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		w.uid.Store(stranger)
		var held []net.Conn
		for range 100 { // which say nothing
			held = append(held, w.connect(t))
		}
		synctest.Wait()
		if l := w.server.Limits()[0]; l.Used != connsEach {
			t.Errorf("limits say %+v", l)
		}
		for _, uid := range []uint32{0, reader} {
			w.uid.Store(uid)
			if status, err := request(w.connect(t), "/v1/version"); status != http.StatusOK {
				t.Errorf("uid %d is locked out: %d, %v", uid, status, err)
			}
		}
		if _, err := held[connsEach+toldConns].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a connection that there is no room for is open: %v", err)
		}
		<-time.After(headerTime) // of the bubble's clock
		synctest.Wait()
		w.uid.Store(stranger)
		if status, err := request(w.connect(t), "/v1/version"); status != http.StatusOK {
			t.Errorf("after those that say nothing have gone: %d, %v", status, err)
		}
	})
}

// 100 real connections of another user, who does not even get to say so.
func TestIdleConnectionsOfNobodyDoNotKeepRootOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root can connect as another user")
	}
	dir, err := os.MkdirTemp("", "") // that other users may pass
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := dir + "/admin.sock"
	l, err := net.Listen("unix", path)
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(path, 0o666)); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Backend: ready, Log: discard})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-served })

	for _, c := range dialAs(t, 65534, path, 100) {
		defer c.Close()
	}
	client := api.NewClient(path)
	defer client.Close()
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("root is locked out: %v", err)
	}
	if used := s.Limits()[0].Used; used > connsEach+1 {
		t.Errorf("%d connections", used)
	}
}

// dialAs connects n times with the effective uid of one thread.
func dialAs(t *testing.T, uid int, path string, n int) (conns []net.Conn) {
	t.Helper()
	type dialled struct {
		conns []net.Conn
		err   error
	}
	done := make(chan dialled)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		var d dialled
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			d.err = errno
		}
		for d.err == nil && len(d.conns) < n {
			var c net.Conn
			if c, d.err = net.Dial("unix", path); d.err == nil {
				d.conns = append(d.conns, c)
			}
		}
		done <- d
	}()
	d := <-done
	if d.err != nil {
		t.Fatal(d.err)
	}
	return d.conns
}

func TestWhoIsUnknownHasNoneOfWhatIsKept(t *testing.T) {
	if h := holderOf(0, errors.New("unknown")); h.master || h.uid != caller.None {
		t.Errorf("%+v", h)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, &fake{tail: silent})
		w.server.Use(Access{Read: set(t, "uid:1000-1999")})
		var open []*http.Response
		f := func(uid uint32, n, status int) {
			t.Helper()
			for i := range n {
				resp := w.open(t, uid)
				if open = append(open, resp); resp.StatusCode != status {
					t.Errorf("stream %d of uid %d: %s, want %d", i+1, uid, resp.Status, status)
				}
			}
		}
		f(1000, streamsEach, http.StatusOK)
		f(1000, 1, http.StatusServiceUnavailable)
		f(1001, streamsEach, http.StatusOK)
		f(1002, streamsEach, http.StatusOK)
		f(1003, 1, http.StatusServiceUnavailable)
		f(0, keptStreams, http.StatusOK)
		f(0, 1, http.StatusServiceUnavailable)
		if l := w.server.Limits()[1]; l.Used != maxStreams || l.Rejected != 3 {
			t.Errorf("limits say %+v", l)
		}
		for _, r := range open[:maxStreams-keptStreams+2] { // two were refused
			r.Body.Close()
		}
		synctest.Wait()
		f(1003, streamsEach, http.StatusOK)
		f(0, maxStreams-keptStreams-streamsEach, http.StatusOK)
	})
}

func TestAPausedReaderOfTheRequestLogDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, &fake{records: func(ctx context.Context, q url.Values, each func(*api.Record) error) error {
			if q.Has("id") {
				return each(&api.Record{ID: "found"})
			}
			<-ctx.Done() // as a query whose reader takes nothing
			return ctx.Err()
		}})
		w.server.Use(Access{Read: set(t, "uid:1000-1999")})
		w.uid.Store(1000)
		for range queriesEach {
			if _, err := io.WriteString(w.connect(t), "GET /v1/log/records HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for _, uid := range []uint32{0, 1001} {
			begin := time.Now()
			if _, body := w.ask(t, uid, "GET", "/v1/log/records?id=x", ""); !strings.Contains(body, "found") || time.Since(begin) != 0 {
				t.Errorf("uid %d, after %v: %s", uid, time.Since(begin), body)
			}
		}
		begin := time.Now()
		if _, body := w.ask(t, 1000, "GET", "/v1/log/records?id=x", ""); !strings.Contains(body, `{"error":{"class":"busy"`) || time.Since(begin) != turnTime {
			t.Errorf("uid 1000, after %v: %s", time.Since(begin), body)
		}
	})
}

func TestAQueryWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = time.Second
		w := startPipes(t, &fake{records: func(_ context.Context, _ url.Values, each func(*api.Record) error) error {
			<-time.After(takes)
			return each(&api.Record{ID: "found"})
		}})
		begin := time.Now()
		bodies := make(chan string)
		for range queriesEach + 1 {
			go func() {
				_, body := w.ask(t, reader, "GET", "/v1/log/records", "")
				bodies <- body
			}()
		}
		for range queriesEach + 1 {
			if body := <-bodies; !strings.Contains(body, "found") {
				t.Errorf("%s", body)
			}
		}
		if d := time.Since(begin); d != 2*takes {
			t.Errorf("took %v, want %v", d, 2*takes)
		}
	})
}

func TestChecksRunOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		w := startPipes(t, &fake{check: func(context.Context) (api.Reload, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-time.After(3 * time.Second)
			return api.Reload{OK: true}, nil
		}})
		status := make(chan int)
		for range 3 {
			go func() {
				resp, _ := w.ask(t, reader, "POST", "/v1/check", "")
				status <- resp.StatusCode
			}()
		}
		got := []int{<-status, <-status, <-status}
		slices.Sort(got)
		if want := []int{http.StatusOK, http.StatusOK, http.StatusServiceUnavailable}; !slices.Equal(got, want) || most.Load() != 1 {
			t.Errorf("%v, %d at a time; want %v, one at a time", got, most.Load(), want)
		}
	})
}

// ends returns after what time the server closes c.
func ends(c net.Conn) time.Duration {
	begin := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(begin)
}

func TestSlowClientsAreCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		sends string
		want  time.Duration
	}{
		"says nothing":       {"", headerTime},
		"half a header":      {"GET /v1/version HTTP/1.1\r\nHos", headerTime},
		"idle":               {"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n", idleTime},
		"half a body":        {"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{", bodyTime},
		"body of a refusal":  {"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{", bodyTime},
		"body to nowhere":    {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{", bodyTime},
		"body that goes on":  {"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", bodyTime},
		"asks before a body": {"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", bodyTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startPipes(t, ready)
				conn := w.connect(t)
				go io.WriteString(conn, c.sends)
				if got := ends(conn); got > c.want+time.Second || got < c.want && c.want != bodyTime {
					t.Errorf("closed after %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestClientThatDoesNotTakeItsAnswerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		conn := w.connect(t)
		if _, err := io.WriteString(conn, "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-time.After(writeTime + time.Second) // of the bubble's clock
		synctest.Wait()
		if n := w.server.Limits()[0].Used; n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestALongReloadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fake{reload: func(ctx context.Context, _ string) (api.Reload, error) {
			select {
			case <-time.After(5 * time.Minute):
				return api.Reload{OK: true}, nil
			case <-ctx.Done():
				return api.Reload{}, ctx.Err()
			}
		}}
		w := startPipes(t, b)
		if resp, body := w.ask(t, operator, "POST", "/v1/reload", ""); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"ok":true`) {
			t.Errorf("%s %s", resp.Status, body)
		}
	})
}

func TestCloseWaitsForARequestButNotForEver(t *testing.T) {
	for name, c := range map[string]struct {
		takes, want time.Duration
		heeds       bool // the end of its context
		status      string
	}{
		"short":             {time.Second, 2 * time.Second, true, "200"},
		"long":              {time.Hour, graceTime + time.Millisecond, true, ""},
		"long, and goes on": {time.Hour, graceTime + endTime + time.Millisecond, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := make(chan struct{})
				b := &fake{reload: func(ctx context.Context, _ string) (api.Reload, error) {
					close(begun)
					gone := ctx.Done()
					if !c.heeds {
						gone = nil
					}
					select {
					case <-time.After(c.takes):
					case <-gone:
					}
					return api.Reload{OK: true}, nil
				}}
				w := startPipes(t, b)
				conn := w.connect(t)
				go io.WriteString(conn, "POST /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n")
				answer := make(chan string)
				go func() {
					b, _ := io.ReadAll(conn)
					answer <- string(b)
				}()
				<-begun
				begin := time.Now()
				w.server.Close()
				if d := time.Since(begin); d > c.want {
					t.Errorf("Close took %v, want %v", d, c.want)
				}
				if got := <-answer; c.status != "" && !strings.HasPrefix(got, "HTTP/1.1 "+c.status) || c.status == "" && got != "" {
					t.Errorf("the answer is %q", got)
				}
				if name == "long, and goes on" {
					<-time.After(c.takes) // of the bubble's clock
				}
			})
		})
	}
}

func TestNothingIsServedAfterClose(t *testing.T) {
	p := newPipes()
	s := New(Options{Backend: ready, Log: discard})
	s.Close()
	if err := s.Serve(p); err != nil {
		t.Error(err)
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestServeTellsWhyItEnds(t *testing.T) {
	p := newPipes()
	p.Close()
	s := New(Options{Backend: ready, Log: discard})
	defer s.Close()
	if err := s.Serve(p); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestTheTimeForABodyEndsWithTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		slow := change(http.MethodPost, "/v1/slow", "Takes its time", func(c *call, _ api.Target) (api.Changed, error) {
			select {
			case <-time.After(10 * bodyTime):
				return api.Changed{Message: "done"}, nil
			case <-c.r.Context().Done():
				return api.Changed{}, c.r.Context().Err()
			}
		})
		w.server.engine.routes[slow.path] = []*route{&slow}
		if resp, body := w.ask(t, operator, "POST", "/v1/slow", `{"upstream":"x"}`); resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s", resp.Status, body)
		}
	})
}
