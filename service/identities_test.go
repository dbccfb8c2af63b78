package service_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// identity returns what the status says of an identity.
func (o *operated) identity(name string) api.Identity {
	o.tb.Helper()
	all := o.status().Identities
	at := slices.IndexFunc(all, func(i api.Identity) bool { return i.Name == name })
	if at < 0 {
		o.tb.Fatalf("there is no identity %q", name)
	}
	return all[at]
}

// renew puts another pair in place and returns its serial.
func (p *pki) renew(tb testing.TB) string {
	id := p.ca.Client(tb, "app")
	id.WriteFiles(tb, filepath.Dir(p.files.Cert), p.ca)
	return id.Serial()
}

// second is the table of another identity.
func (p *pki) second(tb testing.TB) string {
	f := p.ca.Client(tb, "other").WriteFiles(tb, "", p.ca)
	return "[identity.second]\ncert = \"" + f.Cert + "\"\nkey = \"" + f.Key + "\"\nca = \"" + f.CA + "\"\n"
}

// tunnel opens one, which the upstream keeps.
func (o *operated) tunnel() *client {
	o.tb.Helper()
	c := o.dial()
	if a := c.get("/chat", strings.TrimSuffix(upgradeFields, "\r\n")); a.status != 101 {
		o.tb.Fatalf("status %d", a.status)
	}
	return c
}

func keepTunnel(c *tlstest.Conn) { _, _ = io.Copy(c.TLS, c.R) }

// Exchanges that a reload has left behind, and that wait for a connection, show what is
// in use by then; busy connections end as after any rotation.
func TestAnUpstreamThatWasReplacedRotatesUntilItIsClosed(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	old, next := p.upstream(t, w.script), p.upstream(t, tlstest.Static(tlstest.OK))
	pool := []string{"pool.max = 1", "pool.idle = 1", "pool.retire_timeout = \"200ms\"", "pool.wait = \"30s\""}
	o := p.operate(t, oneRoute(old.Addr, pool...))
	first := o.identity("default").Serial
	busy, queued := o.dial(), o.dial()
	busy.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") // which is not sent again
	w.next(t)
	queued.send("GET /queued HTTP/1.1\r\nHost: a\r\n\r\n")
	o.await("the other one to wait", func() bool { return o.status().Upstreams[0].Pool.Waiting == 1 })
	o.write(t, p, oneRoute(next.Addr, pool...))
	o.reload()
	serial := p.renew(t)
	o.reload()
	if in := o.identity("default").InUse; len(in) != 1 || in[0].Serial != first || in[0].Connections != 1 {
		t.Errorf("in use is %+v, want one connection with %s", in, first)
	}
	if a := busy.final("POST"); a.status/100 != 5 {
		t.Errorf("status %d after the retire deadline, want an error", a.status)
	}
	w.next(t)
	w.answer <- tlstest.OK
	if a := queued.final("GET"); a.status != 200 {
		t.Errorf("status %d %s", a.status, a.class())
	}
	if serials := old.Serials(); !slices.Equal(serials, []string{first, serial}) {
		t.Errorf("it was shown %q, want %s and then %s", serials, first, serial)
	}
}

func TestConnectionsCountForTheIdentityThatTheyShow(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tunnelScript(keepTunnel))
	second := p.second(t)
	o := p.operate(t, oneRoute(up.Addr, "identity = \"default\"")+second)
	o.tunnel()
	o.write(t, p, oneRoute(up.Addr, "identity = \"second\"")+second)
	o.reload()
	id := o.identity("default")
	if len(id.InUse) != 1 || id.InUse[0].Serial != id.Serial || id.InUse[0].Connections != 1 || len(id.Upstreams) != 0 {
		t.Errorf("of the identity of before: %+v", id)
	}
	if id.InUse[0].Until == nil || !id.InUse[0].Until.Equal(id.NotAfter) {
		t.Errorf("a tunnel is closed by %v, want the end of its certificate, %v", id.InUse[0].Until, id.NotAfter)
	}
	if id := o.identity("second"); len(id.InUse) != 0 || len(id.Upstreams) != 1 {
		t.Errorf("of the new one: %+v", id)
	}
	var metrics bytes.Buffer
	if err := o.admin.Metrics(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]bool{
		`mtlsproxy_identity_connections{identity="default",generation="1"} 1`: true,
		`mtlsproxy_identity_connections{identity="second",generation="1"} 1`:  false,
	} {
		if bytes.Contains(metrics.Bytes(), []byte(line)) != want {
			t.Errorf("%s in the metrics: want %v", line, want)
		}
	}
}

// Two generations of an identity never have the same number while both have connections.
func TestAnIdentityThatComesBackIsNumberedOn(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tunnelScript(keepTunnel))
	second := p.second(t)
	o := p.operate(t, oneRoute(up.Addr, "identity = \"default\"")+second)
	o.tunnel()
	o.write(t, p, strings.TrimPrefix(oneRoute(up.Addr, "identity = \"second\""), "IDENTITY\n")+second)
	o.reload()
	o.write(t, p, oneRoute(up.Addr, "identity = \"default\"")+second)
	o.reload()
	if n := o.identity("default").Generation; n != 2 {
		t.Errorf("its generation is number %d, want 2", n)
	}
}

func TestWhatIsUnderWayIsWaitedForAtTheEnd(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Static(tlstest.OK)))
	begun, release, finished := make(chan struct{}), make(chan struct{}), false
	go d.service.InTurn(func() {
		close(begun)
		<-release
		finished = true
	})
	<-begun
	d.signals <- syscall.SIGTERM
	d.await("the end", func() bool { return len(d.log.with("INFO stopping")) > 0 })
	select {
	case err := <-d.done:
		d.done <- err
		t.Error("it has ended in the midst of it")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	if d.ends(); !finished {
		t.Error("it was not finished")
	}
}

// stage hands in a new pair and trust anchors for the identity "default".
func (o *operated) stage(p *pki) (serial string) {
	o.tb.Helper()
	id := p.ca.Client(o.tb, "app")
	s := api.Stage{Identity: "default", Cert: id.CertPEM(), Key: id.KeyPEM(), CA: p.ca.PEM()}
	if _, err := o.admin.Stage(o.tb.Context(), s); err != nil {
		o.tb.Fatal(describe(err))
	}
	return id.Serial()
}

func TestWhatIsStagedEndsWithItsIdentity(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	second := p.second(t)
	for name, end := range map[string]func(o *operated){
		"it gets other files": func(o *operated) {
			o.write(t, p, strings.Replace(oneRoute(up.Addr), "IDENTITY\n", strings.Replace(second, "second", "default", 1), 1))
			o.reload()
		},
		"it is removed": func(o *operated) {
			o.write(t, p, strings.Replace(oneRoute(up.Addr, "identity = \"second\""), "IDENTITY\n", second, 1))
			o.reload()
		},
		"the daemon ends": func(o *operated) { o.shutdown() },
	} {
		t.Run(name, func(t *testing.T) {
			o := p.operate(t, oneRoute(up.Addr))
			id := o.service.Identity("default")
			o.stage(p)
			if r, err := o.admin.Check(t.Context()); err != nil || !r.OK || id.State().Staged == nil {
				t.Fatalf("a check drops it: %+v, %v", r, err)
			}
			if end(o); id.State().Staged != nil {
				t.Error("it is still staged")
			}
		})
	}
}

func TestACommitThatFailsSaysWhatToCopyWhere(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	o := p.operate(t, oneRoute(p.upstream(t, tlstest.Static(tlstest.OK)).Addr))
	serial := o.stage(p)
	aside := p.files.Cert + ".aside"
	if err := errors.Join(os.Rename(p.files.Cert, aside), os.Mkdir(p.files.Cert, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := o.admin.Commit(t.Context(), "default")
	e, ok := errors.AsType[*api.Error](err)
	if !ok || !strings.Contains(e.Hint, "nothing has changed") || !strings.Contains(e.Hint, p.files.CA+", then "+p.files.Key+", then "+p.files.Cert) {
		t.Errorf("it says %+v", err)
	}
	if err := errors.Join(os.Remove(p.files.Cert), os.Rename(aside, p.files.Cert)); err != nil {
		t.Fatal(err)
	}
	if c, err := o.admin.Commit(t.Context(), "default"); err != nil || c.Serial != serial {
		t.Errorf("committed %+v, %v", c, err)
	}
	if _, err := o.admin.Abort(t.Context(), "default"); err == nil {
		t.Error("what was committed was dropped")
	}
}

func TestTheStatusSaysHowMuchMoreIsWrong(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	m := newManager(t, nil)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	file := filepath.Join(filepath.Dir(socketPath(t)), "mtlsproxy.toml")
	missing := ""
	for _, name := range []string{"a", "b", "c"} {
		missing += "[identity." + name + "]\ncert = \"/nowhere/crt\"\nkey = \"/nowhere/key\"\nca = \"/nowhere/ca\"\n"
	}
	o := &operated{file: file}
	o.write(t, p, oneRoute(up.Addr, "identity = \"default\"")+missing)
	o.daemon = startWith(t, config.Options{File: file}, func(o *service.Options) { o.Notify = m.notify })
	o.await("the status", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return strings.Contains(strings.Join(m.told, "\n"), "and 2 more")
	})
}
