package service_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// unrelated is a change that concerns no upstream.
const unrelated = "[limits]\nidle_timeout = \"50s\"\n"

// A reload in between must not make the one that drops the upstream forget who uses it.
func TestExchangeOutlivesTwoReloads(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	old, next := p.upstream(t, w.script), p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(old.Addr))
	c := o.dial()
	c.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	o.write(t, p, oneRoute(old.Addr)+unrelated)
	o.reload()
	o.write(t, p, oneRoute(next.Addr)+unrelated)
	o.reload()
	w.answer <- tlstest.OK
	if a := c.final("GET"); a.status != 200 || a.cut {
		t.Errorf("status %d %s, cut: %v", a.status, a.class(), a.cut)
	}
	old.Wait(t, "the old connection to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

// A tunnel to one upstream does not keep another that was removed.
func TestRemovedUpstreamClosesOnceNobodyUsesIt(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	ws := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { io.Copy(c.TLS, c.R) }))
	gone := p.upstream(t, tlstest.Static(tlstest.OK))
	base := strings.Replace(oneRoute(ws.Addr), "host = \"*\"", "host = \"*\"\npath = \"/ws\"", 1)
	o := p.operate(t, base+"[upstream.v]\nendpoints = \""+gone.Addr+"\"\n[[route]]\nname = \"v\"\nhost = \"*\"\npath = \"/v\"\ncallers = \"any\"\nupstream = \"v\"\n")
	c := o.dial()
	if a := c.get("/ws", strings.TrimSuffix(upgradeFields, "\r\n")); a.status != 101 {
		t.Fatalf("status %d", a.status)
	}
	o.dial().get("/v")
	o.write(t, p, base)
	o.reload()
	gone.Wait(t, "its connection to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestTunnelOutlivesTheRetirementOfItsCertificate(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { io.Copy(c.TLS, c.R) }))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	if a := c.get("/chat", strings.TrimSuffix(upgradeFields, "\r\n")); a.status != 101 {
		t.Fatalf("status %d", a.status)
	}
	p.ca.Client(t, "app").WriteFiles(t, filepath.Dir(p.files.Cert), p.ca)
	o.reload()
	if s := o.status(); s.Identities[0].Generation != 2 || s.Upstreams[0].Pool.Open != 1 || s.Upstreams[0].Pool.Closed["retired"] != 0 {
		t.Errorf("%+v", s.Upstreams[0].Pool)
	}
	c.send("ping")
	b := make([]byte, 4)
	c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.in, b); err != nil || string(b) != "ping" {
		t.Errorf("got %q, %v through the tunnel", b, err)
	}
}

// What the record says must not be read from buffers that others have by then.
func TestRecordOfATunnelHasItsOwnPath(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tunnelScript(func(c *tlstest.Conn) { io.Copy(c.TLS, c.R) }))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	path := "/ws/" + strings.Repeat("p", 90)
	if a := c.get(path, strings.TrimSuffix(upgradeFields, "\r\n")); a.status != 101 {
		t.Fatalf("status %d", a.status)
	}
	c.send("ping")
	io.ReadFull(c.in, make([]byte, 4))
	c.close()
	if r := o.recorded(1)[0]; r.Path != path || r.Method != "GET" || r.Status != 101 {
		t.Errorf("%+v", r)
	}
}

func TestRecordOfABrokenRequestHasNoQuery(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	o := p.operate(t, oneRoute(p.upstream(t, tlstest.Static(tlstest.OK)).Addr))
	for _, target := range []string{"/a?token=secret", "http://user:secret@host/a?token=secret"} {
		c := o.dial()
		c.send("GET " + target + " HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n")
		if a := c.final("GET"); a.status != 400 {
			t.Errorf("status %d", a.status)
		}
	}
	all := o.recorded(2) // in the order in which their records were made, which may be either
	if paths := all[0].Path + all[1].Path; paths != "/a" {
		t.Errorf("paths %q and %q", all[0].Path, all[1].Path)
	}
}

func inDirectory(dir, name string) string {
	return "[log]\ndirectory = \"" + filepath.Join(dir, name) + "\"\n"
}

// operateOwn is operate with a log that only the configuration places.
func (p *pki) operateOwn(tb testing.TB, dir, text string) *operated {
	tb.Helper()
	o := &operated{file: filepath.Join(dir, "mtlsproxy.toml")}
	o.write(tb, p, text)
	socket := filepath.Join(dir, "admin.sock")
	o.daemon = startDaemon(tb, config.Options{File: o.file, Set: []string{"log.enabled=true", "admin.address=" + socket}})
	o.admin = api.NewClient(socket)
	tb.Cleanup(o.admin.Close)
	return o
}

// The record goes to the log that the exchange began with, however often it was moved since.
func TestRecordOutlivesReloadsThatMoveTheLog(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	dir := filepath.Dir(socketPath(t))
	o := p.operateOwn(t, dir, oneRoute(up.Addr)+inDirectory(dir, "A"))
	c := o.dial()
	c.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	for _, name := range []string{"A", "B", "A", "B"} {
		o.write(t, p, oneRoute(up.Addr)+inDirectory(dir, name)+unrelated)
		o.reload()
		if s := o.status(); s.Log.Error != "" {
			t.Errorf("moved to %s: %s", name, s.Log.Error)
		}
	}
	w.answer <- tlstest.OK
	c.final("GET")
	o.write(t, p, oneRoute(up.Addr)+inDirectory(dir, "A"))
	o.reload()
	if all := o.recorded(1); all[0].Path != "/slow" {
		t.Errorf("%+v", all)
	}
}

func TestTailFollowsTheLogWhenItMoves(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	dir := filepath.Dir(socketPath(t))
	o := p.operateOwn(t, dir, oneRoute(up.Addr)+inDirectory(dir, "A"))
	var seen atomic.Int64
	enough := errors.New("enough")
	ended := make(chan error, 1)
	go func() {
		ended <- o.admin.Tail(t.Context(), api.Query{}, func(r api.Record) error {
			seen.Add(1)
			if r.Path == "/after" {
				return enough
			}
			return nil
		}, nil)
	}()
	c := o.dial()
	for seen.Load() == 0 {
		c.get("/before")
		pause(time.Millisecond)
	}
	o.write(t, p, oneRoute(up.Addr)+inDirectory(dir, "B"))
	o.reload()
	for end := time.Now().Add(patience); time.Now().Before(end); pause(5 * time.Millisecond) {
		c.get("/after")
		select {
		case err := <-ended:
			if !errors.Is(err, enough) {
				t.Errorf("it ended with %v", err)
			}
			return
		default:
		}
	}
	t.Error("nothing is told of the new log")
}

// A request is routed by the name its listener has in the same configuration.
func TestListenersAndRoutesChangeTogether(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	one, two := p.upstream(t, tlstest.Static(tlstest.Response(200, "one"))), p.upstream(t, tlstest.Static(tlstest.Response(200, "two")))
	dir := filepath.Dir(socketPath(t))
	first := filepath.Join(dir, "1.sock")
	text := func(a, b string) string {
		return "IDENTITY\n[upstream.one]\nendpoints = \"" + one.Addr + "\"\n[upstream.two]\nendpoints = \"" + two.Addr + "\"\n" +
			"[listener." + a + "]\naddress = \"" + first + "\"\n[listener." + b + "]\naddress = \"" + filepath.Join(dir, "2.sock") + "\"\n" +
			"[[route]]\nname = \"r1\"\nhost = \"*\"\nlistener = \"" + a + "\"\ncallers = \"any\"\nupstream = \"one\"\n" +
			"[[route]]\nname = \"r2\"\nhost = \"*\"\nlistener = \"" + b + "\"\ncallers = \"any\"\nupstream = \"two\"\n"
	}
	o := p.operate(t, text("a", "b"))
	var stop atomic.Bool
	var astray, all atomic.Int64
	var clients sync.WaitGroup
	for range 3 {
		nc, err := net.Dial("unix", first)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer nc.Close()
			b := make([]byte, 4096)
			for !stop.Load() {
				io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				n, err := nc.Read(b)
				if all.Add(1); err != nil || !strings.HasSuffix(string(b[:n]), "one") {
					astray.Add(1)
					return
				}
			}
		})
	}
	for i := range 40 {
		o.write(t, p, text([]string{"b", "a"}[i%2], []string{"a", "b"}[i%2]))
		o.reload()
	}
	stop.Store(true)
	clients.Wait()
	if astray.Load() > 0 {
		t.Errorf("%d of %d requests went astray", astray.Load(), all.Load())
	}
}

// An order that was confirmed holds, whatever reload was under way.
func TestDrainIsNotLostInAReload(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	var stop atomic.Bool
	var reloading sync.WaitGroup
	reloading.Go(func() {
		for i := 0; !stop.Load(); i++ {
			o.write(t, p, oneRoute(up.Addr, fmt.Sprintf("server_name = \"n%d.test\"", i%2)))
			o.reload()
		}
	})
	for range 100 {
		if _, err := o.admin.Drain(t.Context(), api.Target{Upstream: "u"}); err != nil {
			t.Fatal(err)
		}
		before := o.status().Config.Reloads
		o.await("two reloads", func() bool { return o.status().Config.Reloads >= before+2 })
		if s := o.status().Upstreams[0].Endpoints[0].State; s != api.EndpointDrained {
			t.Fatalf("the endpoint is %s", s)
		}
		if _, err := o.admin.Resume(t.Context(), api.Target{Upstream: "u"}); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	reloading.Wait()
}

// Whoever may look is not shown what routes set in fields.
func TestChangesHideFieldValues(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	set := func(s string) string { return "request_headers = { set = { Authorization = \"Bearer " + s + "\" } }\n" }
	o := p.operate(t, oneRoute(up.Addr)+set("old-secret"))
	o.write(t, p, oneRoute(up.Addr)+set("new-secret"))
	checked, err := o.admin.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reloaded := o.reload()
	text := fmt.Sprint(checked, reloaded, *o.status().Config.LastReload)
	if strings.Contains(text, "secret") || !strings.Contains(text, "Authorization") {
		t.Error(text)
	}
}

func TestStatusAfterAReloadIsNotStale(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	o.status()
	o.write(t, p, oneRoute(up.Addr)+unrelated)
	o.reload()
	if c := o.status().Config; c.Differs {
		t.Errorf("%+v", c)
	}
}

// A check, or a reload that fails, leaves nothing behind in the metrics.
func TestCheckLeavesNoMetrics(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	o.write(t, p, strings.Replace(oneRoute(up.Addr), "name = \"r\"", "name = \"phantom\"", 1))
	if _, err := o.admin.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := o.admin.Metrics(t.Context(), &text); err != nil || strings.Contains(text.String(), "phantom") {
		t.Errorf("%v; metrics know of a route that is not there", err)
	}
}

func TestCountsOutliveTheirRoute(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	o.write(t, p, strings.Replace(oneRoute(up.Addr), "name = \"r\"", "name = \"renamed\"", 1))
	o.reload()
	if s := o.status(); s.InFlight != 1 {
		t.Errorf("%d in flight, want 1", s.InFlight)
	}
	w.answer <- tlstest.OK
	c.final("GET")
	o.await("the count", func() bool { s := o.status(); return s.Requests == 1 && s.InFlight == 0 })
}

func TestReloadMakesALostSocketAgain(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	o := p.operate(t, oneRoute(p.upstream(t, tlstest.Static(tlstest.OK)).Addr))
	for _, lost := range []string{o.unix, o.admin.Socket()} {
		c := o.dialUnix()
		c.get("/")
		o.admin.Close()
		if err := os.Remove(lost); err != nil {
			t.Fatal(err)
		}
		o.hangup()
		if a := o.dialUnix().get("/"); a.status != 200 {
			t.Errorf("status %d on the socket that was made again", a.status)
		}
		if s := o.status(); s.Phase != "running" {
			t.Errorf("phase %s", s.Phase)
		}
	}
}

// Somebody who may write the directory of a socket must not get a mode for another file.
func TestReloadChangesTheModeOfNothingElse(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	victim := filepath.Join(filepath.Dir(o.file), "victim")
	tlstest.WriteFile(t, victim, nil, 0o600)
	if err := errors.Join(os.Remove(o.unix), os.Symlink(victim, o.unix)); err != nil {
		t.Fatal(err)
	}
	_, err := o.admin.Reload(t.Context())
	info, serr := os.Stat(victim)
	if serr != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the other file has mode %v, %v", info.Mode(), serr)
	}
	if err == nil {
		t.Error("nothing is said of what stands in the socket's place")
	}
}

func TestReloadWhileDrainingIsRefusedAtOnce(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	o := p.operate(t, oneRoute(p.upstream(t, w.script).Addr))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	o.term()
	var refused *api.Error
	if _, err := o.admin.Reload(t.Context()); !errors.As(err, &refused) || refused.Class != api.Refused {
		t.Errorf("got %v", err)
	}
	w.answer <- tlstest.OK
	c.final("GET")
	o.ends()
}

// A file system that does not answer holds up a reload, and nothing else.
func TestReloadThatHangsKeepsNobodyElse(t *testing.T) {
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	hang, entered := make(chan struct{}), make(chan struct{}, 8)
	t.Cleanup(func() { close(hang) })
	var slow atomic.Bool
	o := p.operateReading(t, oneRoute(up.Addr), func() {
		if slow.Load() {
			entered <- struct{}{}
			<-hang
		}
	})
	slow.Store(true)
	o.hangups <- nil
	<-entered
	if a := o.dial().get("/"); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	// The last look at the file is good for a moment; then there is none in time.
	o.await("health to tell of it", func() bool {
		h, err := o.admin.Health(t.Context())
		return err == nil && h.State == api.Degraded
	})
	o.shutdown()
}

// operateReading calls read before the configuration is loaded again.
func (p *pki) operateReading(tb testing.TB, text string, read func()) *operated {
	tb.Helper()
	o := &operated{file: filepath.Join(filepath.Dir(socketPath(tb)), "mtlsproxy.toml")}
	o.write(tb, p, text)
	socket := filepath.Join(filepath.Dir(o.file), "admin.sock")
	options := config.Options{File: o.file, Set: []string{"admin.address=" + socket}}
	options.ReadFile = func(name string) ([]byte, error) {
		read()
		return os.ReadFile(name)
	}
	o.daemon = startDaemon(tb, options)
	o.admin = api.NewClient(socket)
	tb.Cleanup(o.admin.Close)
	return o
}
