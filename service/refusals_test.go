package service_test

import (
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// nginx makes its handshake with everybody, and refuses a certificate with 400.
func TestAnUpstreamThatRefusesEveryRequestIsToldOf(t *testing.T) {
	p := newPKI(t)
	up := p.upstream(t, tlstest.Static(tlstest.OK))
	o := p.operate(t, oneRoute(up.Addr))
	serial := o.status().Identities[0].Serial
	up.Reject(serial, tlstest.BadRequest)
	c := o.dial()
	const event = "event=upstream_refuses"
	for n := range 4 {
		if a := c.get("/"); a.status != 400 || a.class() != "" {
			t.Fatalf("answer %d is %d of class %q", n, a.status, a.class())
		}
	}
	if s := o.status(); s.Health.State != api.Healthy || len(o.log.with(event)) != 0 {
		t.Fatalf("after four answers: %+v, %q", s.Health, o.log.with(event))
	}
	c.get("/")
	c.get("/")
	s := o.status()
	want := []string{"every one of the 6 answers since generation 1 ", "serial " + serial, "certs probe default"}
	if h := s.Health; h.State != api.Degraded || len(h.Reasons) != 1 || h.Reasons[0].Subject != `upstream "u"` {
		t.Fatalf("%+v", h)
	}
	for _, w := range want {
		if r := s.Health.Reasons[0]; !strings.Contains(r.Message+r.Hint, w) {
			t.Errorf("%+v does not say %q", r, w)
		}
	}
	if s.Upstreams[0].Refused != 6 {
		t.Errorf("%d answers are called refused, want 6", s.Upstreams[0].Refused)
	}
	if told := o.log.with(event); len(told) != 1 || !strings.Contains(told[0], "upstream=u identity=default serial="+serial+" generation=1 answers=5") {
		t.Errorf("events %q", told)
	}

	up.Reject(serial, tlstest.Accept)
	c.get("/")
	if s := o.status(); s.Health.State != api.Healthy || s.Upstreams[0].Refused != 0 {
		t.Errorf("after another answer: %+v", s.Health)
	}
}
