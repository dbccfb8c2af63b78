package service_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// halves answers with a half of what it announces, and waits.
func halves(c *tlstest.Conn) {
	if _, err := c.ReadRequest(); err == nil && c.Write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf") == nil {
		c.WaitClosed()
	}
}

// However many other exchanges have failed at that moment.
func TestADownloadThatIsCutAtTheRetireDeadlineIsToldOf(t *testing.T) {
	p := newPKI(t)
	up := p.upstream(t, halves)
	o := p.operate(t, oneRoute(up.Addr, `pool.retire_timeout = "0s"`)+
		"[upstream.dead]\nendpoints = \"127.0.0.1:1\"\n[[route]]\nname = \"dead\"\nhost = \"dead\"\ncallers = \"any\"\nupstream = \"dead\"\n")
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.conn.SetReadDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.ReadFull(r.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	failing := o.dial()
	for range 12 {
		failing.send("GET / HTTP/1.1\r\nHost: dead\r\n\r\n")
		failing.final("GET")
	}
	p.ca.Client(t, "app").WriteFiles(t, p.files.Dir, p.ca)
	o.reload()
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("the download looks complete")
	}
	o.await("the event", func() bool { return len(o.log.with("event=response_cut")) == 1 })
	told := o.log.with("event=response_cut")[0]
	for _, w := range []string{"class=draining", "fault=self", "pool.retire_timeout", "generation 1"} {
		if !strings.Contains(told, w) {
			t.Errorf("%q does not say %q", told, w)
		}
	}
}

// Nothing of the answer has left yet.
func TestAnExchangeThatIsCutAtTheRetireDeadlineMayBeTriedAgain(t *testing.T) {
	p := newPKI(t)
	up := p.upstream(t, tlstest.NeverAnswer())
	o := p.operate(t, oneRoute(up.Addr, `pool.retire_timeout = "0s"`))
	c := o.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	up.Wait(t, "the request", func(s tlstest.Stats) bool { return s.Requests == 1 })
	p.ca.Client(t, "app").WriteFiles(t, p.files.Dir, p.ca)
	o.reload()
	if a := c.final("POST"); a.status != 503 || a.class() != "draining" || !strings.Contains(a.body, "pool.retire_timeout; try again") {
		t.Errorf("%+v", a)
	}
}
