package service_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestRecordOfAnExchange(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.Response(201, "made")))
	o := p.operate(t, oneRoute(up.Addr))
	before := time.Now()
	c := o.dialUnix()
	request := "POST /things/7?token=secret HTTP/1.1\r\nHost: API.test\r\nContent-Length: 5\r\n\r\nhello"
	c.send(request)
	a := c.final("POST")
	r := o.recorded(1)[0]
	uid := uint32(os.Geteuid())
	id := o.status().Identities[0]
	if r.Time.Before(before.Add(-time.Millisecond)) || time.Since(r.Time) > patience || r.Total <= 0 || r.FirstByte <= 0 || r.FirstByte > r.Total || r.Connect <= 0 {
		t.Errorf("times: %+v", r)
	}
	if r.ID == "" || !strings.Contains(string(up.Received()), "X-Request-Id: "+r.ID+"\r\n") {
		t.Errorf("id %q, the upstream saw %q", r.ID, up.Received())
	}
	if r.Caller == nil || *r.Caller != uid {
		t.Errorf("caller %v, want %d", r.Caller, uid)
	}
	if int(r.BytesIn) != len(request) || int(r.BytesOut) != len(c.received()) {
		t.Errorf("%d bytes in and %d out, want %d and %d", r.BytesIn, r.BytesOut, len(request), len(c.received()))
	}
	got := fmt.Sprint(r.Listener, r.Route, r.Upstream, r.Endpoint, r.Method, r.Host, r.Path, r.Status, r.Class, r.Fault, r.Attempts, r.Reused, r.TLS, r.Serial, r.Generation)
	want := fmt.Sprint("http", "r", "u", up.Addr, "POST", "api.test", "/things/7", a.status, "", "", 1, false, "1.3", id.Serial, 1)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c.get("/again"); !o.recorded(2)[1].Reused {
		t.Error("the second exchange does not say that its connection was used before")
	}
}

// What became of an exchange, and whose fault it was.
func TestRecordsOfWhatGoesWrong(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for name, c := range map[string]struct {
		script  tlstest.Script
		more    string
		request string
		want    string // status, class and fault
	}{
		"no route":          {tlstest.Static(tlstest.OK), "method = \"PUT\"\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 no_route client"},
		"broken head":       {tlstest.Static(tlstest.OK), "", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 bad_request client"},
		"broken body":       {tlstest.Static(tlstest.OK), "", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "400 bad_request client"},
		"no response":       {tlstest.CloseBeforeResponse(tlstest.CloseNotify), "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "502 upstream_reset upstream"},
		"bad response":      {tlstest.Static("nonsense\r\n\r\n"), "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "502 upstream_bad_response upstream"},
		"response cut":      {tlstest.TruncateBody(100000, tlstest.CloseNotify), "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200 upstream_reset upstream"},
		"upstream's answer": {tlstest.Static(tlstest.Response(503, "busy")), "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "503  "},
	} {
		t.Run(name, func(t *testing.T) {
			up := p.upstream(t, c.script)
			o := p.operate(t, oneRoute(up.Addr)+c.more)
			conn := o.dial()
			conn.send(c.request)
			conn.next("GET")
			r := o.recorded(1)[0]
			if got := fmt.Sprint(r.Status, " ", r.Class, " ", r.Fault); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			m := o.status()
			if m.Requests != 1 || (r.Class != "") != (m.Errors == 1) {
				t.Errorf("%d requests and %d errors are counted", m.Requests, m.Errors)
			}
		})
	}
}

func TestRecordOfAClientThatLeft(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	c.close()
	r := o.recorded(1)[0]
	if r.Status != 0 || r.Class != "client_gone" || r.Fault != "client" || r.Endpoint != up.Addr {
		t.Errorf("%+v", r)
	}
}

func TestRecordKeepsTheQueryOnlyIfWanted(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.get("/a?token=secret")
	o.write(t, p, oneRoute(up.Addr)+"[log]\nquery = true\n")
	o.reload()
	c.get("/b?x=1")
	all := o.recorded(2)
	if all[0].Path != "/a" || all[1].Path != "/b?x=1" {
		t.Errorf("paths %q and %q", all[0].Path, all[1].Path)
	}
}

// A body that is sent while the response is awaited goes into the buffer in which the head stood.
func TestRecordOfALongUploadHasItsOwnPath(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	const size = 300_000
	c.send("PUT /upload/here HTTP/1.1\r\nHost: files.test\r\nContent-Length: " + itoa(size) + "\r\n\r\n")
	c.send(strings.Repeat("x", size))
	c.final("PUT")
	r := o.recorded(1)[0]
	if r.Method != "PUT" || r.Path != "/upload/here" || r.Host != "files.test" || r.BytesIn < size {
		t.Errorf("%+v", r)
	}
}

func TestRecordsAreFollowed(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	enough := fmt.Errorf("enough")
	seen := make(chan api.Record)
	ended := make(chan error, 1)
	go func() {
		ended <- o.admin.Tail(t.Context(), api.Query{Path: "/wanted*"}, func(r api.Record) error { seen <- r; return enough }, nil)
	}()
	c := o.dial()
	for {
		c.get("/other")
		c.get("/wanted/this")
		select {
		case r := <-seen:
			if r.Path != "/wanted/this" {
				t.Errorf("got %s", r.Path)
			}
			if err := <-ended; err != enough {
				t.Errorf("it ended with %v", err)
			}
			return
		default:
			pause(time.Millisecond) // it may not follow yet
		}
	}
}

func TestRecordsOutliveARestart(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	o.dial().get("/before")
	o.shutdown()
	again := p.operateIn(t, filepath.Dir(o.file), oneRoute(up.Addr))
	again.dial().get("/after")
	all := again.recorded(2)
	if all[0].Path != "/before" || all[1].Path != "/after" {
		t.Errorf("%+v", all)
	}
}

// Whatever is the matter with the log, requests are served, status says what it is, and it heals by itself.
func TestRequestLogInTroubleStopsNothing(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	dir := filepath.Dir(socketPath(t))
	inTheWay := filepath.Join(dir, "log")
	tlstest.WriteFile(t, inTheWay, []byte("not a directory"), 0o644)
	o := p.operateIn(t, dir, oneRoute(up.Addr))
	c := o.dial()
	if a := c.get("/"); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	o.await("the trouble to be told", func() bool { s := o.status(); return s.Log.Error != "" && s.Health.State == api.Degraded })
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	o.await("the log to heal", func() bool { s := o.status(); return s.Log.Error == "" && s.Health.State == api.Healthy })
	c.get("/healed")
	o.await("the record", func() bool { return len(o.records(api.Query{Path: "/healed"})) == 1 })
}

func TestConnectionsAreListed(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	o := p.operate(t, oneRoute(up.Addr))
	busy := o.dial()
	busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	idle := o.dialUnix()
	idle.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	w.answer <- tlstest.OK // to one of the two
	var list []api.Connection
	o.await("an active and an idle connection", func() bool {
		var err error
		if list, err = o.admin.Connections(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(list) == 2 && list[0].State != list[1].State
	})
	uid := uint32(os.Geteuid())
	for _, c := range list {
		if c.Listener != "http" || c.Route != "r" || c.Exchanges != 1 || c.BytesIn == 0 || c.Caller == nil || *c.Caller != uid {
			t.Errorf("%+v", c)
		}
	}
	if list[0].Remote != busy.conn.LocalAddr().String() || list[1].Remote != "" || list[1].PID != os.Getpid() {
		t.Errorf("%+v", list)
	}
	w.answer <- tlstest.OK
}

func TestAdminAnswersWhileDraining(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	w := newWaiting()
	up := p.upstream(t, w.script)
	o := p.operate(t, oneRoute(up.Addr))
	c := o.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	w.next(t)
	o.term()
	s := o.status()
	if s.Phase != "draining" || s.Health.Ready || s.Health.State != api.Failing || s.InFlight != 1 {
		t.Errorf("%+v", s)
	}
	w.answer <- tlstest.OK
	c.final("GET")
	o.ends()
	if _, err := net.Dial("unix", o.admin.Socket()); err == nil {
		t.Error("the admin socket still answers")
	}
}
