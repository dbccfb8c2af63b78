package service_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// More clients come than there are descriptors for. They must not take those of the operator, nor of the exchanges of
// those that were there first.
func TestAdminSocketAnswersWhileClientsTakeAllTheyCan(t *testing.T) {
	leak.Check(t)
	const (
		files   = 400
		seats   = 56 // half of what is left beside what is kept back
		clients = 300
	)
	socket := filepath.Join(filepath.Dir(socketPath(t)), "admin.sock")
	d := startCounting(t, append(countingSet(t, newPKI(t)), "admin.address="+socket), fmt.Sprint(filesEnv, "=", files))
	admin := api.NewClient(socket)
	defer admin.Close()
	answers := map[int]int{}
	var open []net.Conn
	slowest := time.Duration(0)
	for range clients {
		nc, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		open = append(open, nc)
		begun := time.Now()
		c := newClient(t, nc)
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		a, err := c.next(http.MethodGet)
		switch took := time.Since(begun); {
		case err != nil:
			answers[0]++ // closed at once
		case a.status == 503 && a.class() != "overloaded":
			t.Errorf("got class %q", a.class())
		default:
			answers[a.status]++
			slowest = max(slowest, took)
		}
	}
	if answers[200] != seats || answers[200]+answers[503]+answers[0] != clients || answers[503] < maxTold {
		t.Errorf("answers %v of %d clients, want %d times 200 and the others refused", answers, clients, seats)
	}
	t.Logf("%v, the slowest answer took %v", answers, slowest)
	begun := time.Now()
	if _, err := admin.Status(t.Context()); err != nil {
		t.Errorf("the admin socket: %v", err)
	}
	list, err := admin.Limits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.Name == "limits.connections" && (l.Capacity != seats || l.Used != seats || l.Rejected != clients-seats) {
			t.Errorf("the limit is %+v", l)
		}
		if l.Name == "LimitNOFILE" && l.Used >= l.Capacity {
			t.Errorf("all descriptors are taken: %+v", l)
		}
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the admin socket took %v", took)
	}
	first := newClient(t, open[0])
	if a := first.get("/"); a.status != 200 {
		t.Errorf("a client that was there first got %d", a.status)
	}
	for _, nc := range open {
		nc.Close()
	}
	for end := time.Now().Add(2 * time.Second); ; pause(time.Millisecond) {
		nc, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, nc)
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		a, err := c.next(http.MethodGet)
		nc.Close()
		if err == nil && a.status == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no recovery within 2s")
		}
	}
}

// maxTold is how many are told at least, rather than closed, if they come one after the other.
const maxTold = 64
