package service_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestReloadKeepsConnectionsOfWhatStays(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.get("/1")
	o.write(t, p, oneRoute(up.Addr, `pool.max = 70`, `timeout.response_header = "9s"`)+"[limits]\nidle_timeout = \"50s\"\n")
	r := o.reload()
	if len(r.Changes) != 3 {
		t.Errorf("changes: %+v", r.Changes)
	}
	for _, change := range r.Changes {
		if change.Effect != "in place" {
			t.Errorf("%s takes effect %q", change.Key, change.Effect)
		}
	}
	if a := c.get("/2"); a.status != 200 {
		t.Errorf("status %d on a connection from before the reload", a.status)
	}
	if s := up.Stats(); s.Accepted != 1 || s.Requests != 2 {
		t.Errorf("the upstream has %d connections with %d requests, want 1 with 2", s.Accepted, s.Requests)
	}
	s := o.status()
	if s.Upstreams[0].Pool.Max != 70 || s.Routes[0].Requests != 2 || s.Upstreams[0].Pool.Opened != 1 || s.Config.Reloads != 1 || s.Config.Differs {
		t.Errorf("%+v", s)
	}
}

func TestSIGHUPReloads(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	first, second := p.upstream(t, tlstest.Static(tlstest.OK)), p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(first.Addr))
	c := o.dial()
	c.get("/")
	o.write(t, p, oneRoute(second.Addr))
	o.hangup()
	if a := c.get("/"); a.status != 200 || second.Stats().Requests != 1 {
		t.Errorf("status %d; the new upstream has seen %d requests", a.status, second.Stats().Requests)
	}
	if last := o.status().Config.LastReload; last == nil || last.By != "signal" || !last.OK {
		t.Errorf("the last reload is %+v", last)
	}
}

// The exchange goes on with the upstream it began with, which is closed only after it.
func TestReloadFinishesExchangesOfWhatGoes(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	old := p.upstream(t, w.script)
	next := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(old.Addr))
	c := o.dial()
	c.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	o.write(t, p, oneRoute(next.Addr))
	o.reload()
	if a := o.dial().get("/"); a.status != 200 || next.Stats().Requests != 1 {
		t.Errorf("status %d; the new upstream has seen %d requests", a.status, next.Stats().Requests)
	}
	w.answer <- tlstest.OK
	if a := c.final(http.MethodGet); a.status != 200 || a.cut {
		t.Errorf("the exchange from before the reload ends with %d, cut: %v", a.status, a.cut)
	}
	old.Wait(t, "the old connection to close", func(s tlstest.Stats) bool { return s.Open == 0 })
}

func TestFailedReloadChangesNothing(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.get("/")
	for name, broken := range map[string]string{
		"syntax":           "[upstream",
		"two errors":       oneRoute(up.Addr, `pool.max = "many"`, `retries = 2`),
		"missing identity": strings.Replace(oneRoute(up.Addr), "IDENTITY", "[identity.default]\ncert = \"/nowhere.crt\"\nkey = \"/nowhere.key\"\nca = \"/nowhere.ca\"", 1),
		"address in use":   oneRoute(up.Addr) + "[listener.more]\naddress = \"" + up.Addr + "\"\n",
	} {
		o.write(t, p, broken)
		_, err := o.admin.Reload(t.Context())
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Class != api.Refused || len(refused.Details) == 0 {
			t.Errorf("%s: got %v, want it refused with details", name, err)
			continue
		}
		if name == "two errors" && len(refused.Details) != 2 {
			t.Errorf("%s: not all errors at once: %q", name, refused.Details)
		}
		if a := c.get("/"); a.status != 200 {
			t.Errorf("%s: status %d afterwards", name, a.status)
		}
	}
	s := o.status()
	if up.Stats().Accepted != 1 || s.Config.Failed != 4 || s.Health.State != api.Degraded || !s.Config.Differs || s.Phase != "running" {
		t.Errorf("%d connections, %+v", up.Stats().Accepted, s)
	}
	o.write(t, p, oneRoute(up.Addr))
	o.reload()
	if s := o.status(); s.Health.State != api.Healthy {
		t.Errorf("after a reload that succeeded: %+v", s.Health)
	}
}

func TestReloadAddsAndRemovesListeners(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	o := p.operate(t, oneRoute(up.Addr))
	more := filepath.Join(filepath.Dir(o.file), "more.sock")
	o.write(t, p, oneRoute(up.Addr)+"[listener.more]\naddress = \""+more+"\"\nmode = \"0600\"\n")
	o.reload()
	busy, idle := o.dialTo("unix", more), o.dialTo("unix", more)
	idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	w.answer <- tlstest.OK
	idle.final(http.MethodGet)
	busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	o.write(t, p, oneRoute(up.Addr))
	o.reload()
	idle.ended()
	w.answer <- tlstest.OK
	if a := busy.final(http.MethodGet); a.status != 200 || !a.close {
		t.Errorf("status %d, close: %v on a listener that was removed", a.status, a.close)
	}
	busy.ended()
	if _, err := net.Dial("unix", more); err == nil {
		t.Error("the listener still accepts")
	}
	staying := o.dial()
	staying.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	w.answer <- tlstest.OK
	if a := staying.final(http.MethodGet); a.status != 200 {
		t.Errorf("status %d on the listener that stayed", a.status)
	}
}

func TestReloadReadsCertificatesAnew(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.get("/")
	o.reload()
	if g := o.status().Identities[0].Generation; g != 1 {
		t.Errorf("generation %d after a reload of the same files, want 1", g)
	}
	next := p.ca.Client(t, "app")
	dir := filepath.Dir(p.files.Cert)
	next.WriteFiles(t, dir, p.ca)
	r := o.reload()
	// None is right too: whoever watches the files may have been quicker.
	if len(r.Changes) > 1 || len(r.Changes) == 1 && r.Changes[0].Key != "identity.default" {
		t.Errorf("changes: %+v", r.Changes)
	}
	c.get("/")
	serials := up.Serials()
	if id := o.status().Identities[0]; id.Generation != 2 || id.Serial != next.Serial() || serials[len(serials)-1] != next.Serial() {
		t.Errorf("generation %d with serial %s; the upstream saw %v, want %s", id.Generation, id.Serial, serials, next.Serial())
	}
}

func TestCheckChangesNothing(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	o.write(t, p, oneRoute(up.Addr, "pool.max = 70"))
	r, err := o.admin.Check(t.Context())
	if err != nil || len(r.Changes) != 1 || r.Changes[0].Key != "upstream.u.pool.max" || r.Changes[0].Old != "256" || r.Changes[0].New != "70" {
		t.Errorf("got %+v, %v", r, err)
	}
	if s := o.status(); s.Upstreams[0].Pool.Max != 256 || s.Config.Reloads != 0 || !s.Config.Differs {
		t.Errorf("%+v", s)
	}
}

func TestConfigurationIsWatchedIfWanted(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	watching := "[reload]\nwatch = true\n"
	o := p.operate(t, oneRoute(up.Addr)+watching)
	o.write(t, p, oneRoute(up.Addr, "pool.max = 70")+watching)
	o.await("the reload", func() bool { s := o.status(); return s.Config.Reloads == 1 && s.Upstreams[0].Pool.Max == 70 })
	if by := o.status().Config.LastReload.By; by != "watch" {
		t.Errorf("the reload was asked for by %q", by)
	}
	drop := strings.TrimSuffix(o.file, ".toml") + ".d"
	if err := os.Mkdir(drop, 0o755); err != nil {
		t.Fatal(err)
	}
	tlstest.WriteFile(t, filepath.Join(drop, "more.toml"), []byte("[upstream.u]\npool.max = 80\n"), 0o644)
	o.await("the reload", func() bool { return o.status().Upstreams[0].Pool.Max == 80 })
}

func TestHandDrainedEndpointOutlivesAReload(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	first, second := p.upstream(t, tlstest.Static(tlstest.OK)), p.upstream(t, tlstest.Static(tlstest.OK))
	both := first.Addr + "\", \"" + second.Addr
	o := p.operate(t, strings.Replace(oneRoute(both), "endpoints = \""+both+"\"", "endpoints = [\""+both+"\"]", 1))
	if _, err := o.admin.Drain(t.Context(), api.Target{Upstream: "u", Endpoint: second.Addr}); err != nil {
		t.Fatal(err)
	}
	o.write(t, p, strings.Replace(oneRoute(both, `server_name = "127.0.0.1"`), "endpoints = \""+both+"\"", "endpoints = [\""+both+"\"]", 1))
	o.reload()
	for range 4 {
		if a := o.dial().get("/"); a.status != 200 {
			t.Errorf("status %d", a.status)
		}
	}
	if n := second.Stats().Requests; n != 0 {
		t.Errorf("%d requests to the drained endpoint", n)
	}
	if _, err := o.admin.Drain(t.Context(), api.Target{Upstream: "u"}); err != nil {
		t.Fatal(err)
	}
	if a := o.dial().get("/"); a.status != 503 || a.class() != "no_endpoint" {
		t.Errorf("status %d %s with every endpoint drained", a.status, a.class())
	}
}

// Every reload replaces the upstream and moves the request log, while clients keep asking.
func TestReloadsLoseNoRequest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	servers := []*tlstest.Server{p.upstream(t, tlstest.Static(tlstest.OK)), p.upstream(t, tlstest.Static(tlstest.OK))}
	o := p.operate(t, oneRoute(servers[0].Addr))
	var stop atomic.Bool
	var sent, failed atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		nc, err := net.Dial("tcp", o.tcp)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer nc.Close()
			b := make([]byte, 4096)
			for !stop.Load() {
				io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				n, err := nc.Read(b)
				sent.Add(1)
				if err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 200 ") {
					failed.Add(1)
					return
				}
			}
		})
	}
	for i := range 20 {
		before := sent.Load()
		o.await("some requests", func() bool { return sent.Load() > before+20 || failed.Load() > 0 })
		o.write(t, p, oneRoute(servers[i%2].Addr)+fmt.Sprintf("[drain]\ntimeout = \"%ds\"\n", 5+i))
		o.reload()
	}
	stop.Store(true)
	clients.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	o.await("every record", func() bool { return int64(len(o.records(api.Query{Limit: api.All}))) == sent.Load() })
	t.Logf("%d requests over 20 reloads, %d failed", sent.Load(), failed.Load())
}
