package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// endSlack is how far the end of a certificate may be off, by what a loaded machine does
// between a look at the clock and a deed.
const endSlack = 250 * time.Millisecond

// A daemon that starts without a certificate that can be used is up: what does not need
// it is served, and the rest is told why not, until the files come.
func TestRotationMendsWhatWasBadAtTheStart(t *testing.T) {
	leak.Check(t)
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	upstream := newUpstream(t, ca)
	dir := openDir(t)
	place := func(name string) files {
		f := account{}.in(filepath.Join(dir, name))
		must(t, os.Mkdir(filepath.Dir(f.ca), 0o755))
		must(t, os.WriteFile(f.ca, ca.PEM(), 0o644))
		return f
	}
	fine, absent, outdated := place("fine"), place("absent"), place("outdated")
	_, err := fine.replace(ca.Client(t, "fine"))
	must(t, err)
	_, err = outdated.replace(ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(-time.Hour)}))
	must(t, err)
	d := tend(t, account{}, fine.table("fine", upstream.Addr)+absent.table("absent", upstream.Addr)+outdated.table("outdated", upstream.Addr))
	must(t, until(time.Second, "READY=1", func() bool { return d.manager.heard("READY=1") }))
	must(t, until(time.Second, "STATUS=degraded", func() bool { return d.manager.heard("STATUS=degraded: identity ") }))
	for _, c := range []struct {
		name, class, reason string
		files
	}{
		{"absent", "identity_unavailable", "missing", absent},
		{"outdated", "identity_expired", "expired", outdated},
	} {
		a := newApplication(d.addr, c.name+".test")
		refused, ok := errors.AsType[*refusal](a.get(1))
		if !ok || refused.status != 503 || refused.class != c.class || !strings.Contains(refused.text, c.reason) {
			t.Errorf("%s: the answer is %v, want 503 %s and a text that says %q", c.name, refused, c.class, c.reason)
		}
		id, err := d.identity(t.Context(), c.name)
		must(t, err)
		if id.State != api.IdentityUnavailable || id.Reason != c.reason || !strings.Contains(id.Error, c.cert) || id.Generation != 0 {
			t.Errorf("%s: the daemon says %+v, want unavailable for %s", c.name, id, c.reason)
		}
		must(t, until(time.Second, c.name+" in the log", func() bool {
			return d.logged("event=cert_rejected", "identity="+c.name, "reason="+c.reason)
		}))
		last, err := c.replace(ca.Client(t, c.name))
		must(t, err)
		if err := until(healedWithin, c.name+" is served", func() bool { return a.get(1) == nil }); err != nil {
			t.Errorf("%v: %v", err, a.get(1))
		}
		t.Logf("%s: served %v after the files came", c.name, time.Since(last).Round(time.Millisecond))
		must(t, a.close())
	}
	a := newApplication(d.addr, "fine.test")
	must(t, a.get(1))
	must(t, a.close())
}

// asked is a request and what came of it.
type asked struct {
	begun, done time.Time
	err         error
}

// A certificate is shown up to its end and not beyond it, by no request and on no
// connection, whatever goes on there; a new one heals that.
func TestRotationWhenACertificateExpiresInUse(t *testing.T) {
	leak.Check(t)
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	upstream := newUpstream(t, ca)
	f := account{}.in(openDir(t))
	must(t, os.WriteFile(f.ca, ca.PEM(), 0o644))
	brief, next := ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(4 * time.Second)}), ca.Client(t, "next")
	end := brief.Leaf.NotAfter
	_, err := f.replace(brief)
	must(t, err)
	d := tend(t, account{}, f.table("brief", upstream.Addr))

	var running sync.WaitGroup
	var download, tunnel asked
	running.Go(func() {
		a := newApplication(d.addr, "brief.test")
		defer a.client.CloseIdleConnections()
		for n := 0; download.err == nil && time.Now().Before(end.Add(2*time.Second)); n++ {
			download.err = a.download(n)
		}
		download.done = time.Now()
	})
	ws, err := dialWebSocket(d.addr, "brief.test")
	must(t, err)
	defer ws.Close()
	running.Go(func() {
		for n := 0; tunnel.err == nil && time.Now().Before(end.Add(2*time.Second)); n++ {
			tunnel.err = echoes(ws, n)
		}
		tunnel.done = time.Now()
	})
	a := newApplication(d.addr, "brief.test")
	var all []asked
	for time.Now().Before(end.Add(1500 * time.Millisecond)) {
		one := asked{begun: time.Now()}
		one.err = a.get(100)
		one.done = time.Now()
		all = append(all, one)
		pause(10 * time.Millisecond)
	}
	running.Wait()
	verifyEnd(t, all, end)
	for what, c := range map[string]asked{"download": download, "websocket": tunnel} {
		if late := c.done.Sub(end); c.err == nil || late < -endSlack || late > time.Second+endSlack {
			t.Errorf("the %s ended %v after the certificate, with %v", what, late, c.err)
		}
	}
	use := upstream.Uses()[brief.Serial()]
	if late := use.LastRequest.Sub(end); late > endSlack {
		t.Errorf("a request showed the certificate %v after its end", late)
	}
	if late := use.Closed.Sub(end); use.Open > 0 || late > time.Second+endSlack {
		t.Errorf("%d connections are open, the last was closed %v after the end of the certificate", use.Open, late)
	}
	t.Logf("after the end of the certificate: last request %v, last connection closed %v, download cut %v, websocket cut %v", use.LastRequest.Sub(end).Round(time.Millisecond),
		use.Closed.Sub(end).Round(time.Millisecond), download.done.Sub(end).Round(time.Millisecond), tunnel.done.Sub(end).Round(time.Millisecond))
	must(t, until(2*time.Second, "cert_expired in the log", func() bool { return d.logged("event=cert_expired", "identity=brief") }))
	if id, err := d.identity(t.Context(), "brief"); err != nil || id.State != api.IdentityExpired {
		t.Errorf("the daemon says %+v, %v; want expired", id, err)
	}
	last, err := f.replace(next)
	must(t, err)
	if err := until(healedWithin, "the new certificate is served", func() bool { return a.get(1) == nil }); err != nil {
		t.Errorf("%v: %v", err, a.get(1))
	}
	t.Logf("served %v after the files came", time.Since(last).Round(time.Millisecond))
	must(t, a.close())
}

// verifyEnd wants what was asked before the end to be served, and after it to be refused.
func verifyEnd(t *testing.T, all []asked, end time.Time) {
	t.Helper()
	served, expired := 0, 0
	for _, one := range all {
		refused, ok := errors.AsType[*refusal](one.err)
		switch {
		case one.err == nil:
			served++
			if one.begun.After(end.Add(endSlack)) {
				t.Errorf("a request was served that began %v after the end", one.begun.Sub(end))
			}
		case ok && refused.class == "identity_expired":
			expired++
			if one.done.Before(end) || refused.status != 503 {
				t.Errorf("%v, %v before the end", refused, end.Sub(one.done))
			}
		default:
			t.Errorf("%v after the end: %v", one.begun.Sub(end), one.err)
		}
	}
	if served < 50 || expired < 20 {
		t.Errorf("%d requests were served, and %d refused", served, expired)
	}
}
