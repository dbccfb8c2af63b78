package service

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

func TestAnEndpointSaysWhyItIsNotUp(t *testing.T) {
	now := time.Now()
	refused := &tlsclient.Error{Class: tlsclient.ConnectFailed, Err: errors.New("refused")}
	wrong := &tlsclient.Error{Class: tlsclient.ConnectFailed, Err: syscall.EADDRNOTAVAIL}
	const own = "connect_failed: this host could not make a connection: cannot assign requested address; see source of the upstream, and LimitNOFILE"
	f := func(state, why string, change func(*tlsclient.EndpointState)) {
		t.Helper()
		s := tlsclient.EndpointState{IPs: []netip.Addr{netip.IPv6Loopback()}, Breaker: tlsclient.Closed, Share: 1, Attempts: 9}
		change(&s)
		if gotState, gotWhy := standing(&s, now); gotState != state || gotWhy != why {
			t.Errorf("got %s: %s, want %s: %s", gotState, gotWhy, state, why)
		}
	}
	f(api.EndpointUp, "", func(*tlsclient.EndpointState) {})
	f(api.EndpointUnknown, "", func(s *tlsclient.EndpointState) { s.Attempts = 0 })
	f(api.EndpointUp, "", func(s *tlsclient.EndpointState) { s.Attempts, s.Health.Checked = 0, true })
	f(api.EndpointFailing, "its last health check failed: status 503", func(s *tlsclient.EndpointState) {
		s.Attempts, s.Health.Checked, s.Health.Last = 0, true, errors.New("status 503")
	})
	f(api.EndpointIll, "it fails its health checks; the last: status 503", func(s *tlsclient.EndpointState) {
		s.Health = tlsclient.HealthState{Checked: true, Ill: true, Last: errors.New("status 503")}
	})
	f(api.EndpointIll, "it has failed its health checks; the last was good, but it takes some more of them", func(s *tlsclient.EndpointState) {
		s.Health = tlsclient.HealthState{Checked: true, Ill: true}
	})
	f(api.EndpointShunned, "connect_failed: refused; 7 failures in a row", func(s *tlsclient.EndpointState) {
		s.Breaker, s.LastError, s.ConsecutiveFailures = tlsclient.Open, refused, 7
	})
	f(api.EndpointHalfOpen, "one exchange is to find out whether it has recovered; before: connect_failed: refused", func(s *tlsclient.EndpointState) {
		s.Breaker, s.LastError, s.ConsecutiveFailures = tlsclient.HalfOpen, refused, 1
	})
	f(api.EndpointRecovering, "it has just recovered, and gets 30 % of its share of exchanges for now", func(s *tlsclient.EndpointState) { s.Share = .3 })
	f(api.EndpointDown, "connect_failed: refused", func(s *tlsclient.EndpointState) { s.Down, s.LastError = true, refused })
	f(api.EndpointDown, own, func(s *tlsclient.EndpointState) { s.Unmade, s.UnmadeTime = wrong, now.Add(-time.Hour) })
	f(api.EndpointDown, own, func(s *tlsclient.EndpointState) { s.Unmade, s.UnmadeTime, s.Idle = wrong, now.Add(-time.Second), 1 })
	f(api.EndpointUp, "", func(s *tlsclient.EndpointState) { s.Unmade, s.UnmadeTime, s.Idle = wrong, now.Add(-time.Hour), 1 })
	f(api.EndpointUnnamed, "no such host", func(s *tlsclient.EndpointState) { s.IPs, s.NoIP = nil, errors.New("no such host") })
	f(api.EndpointDrained, "drained by hand; resume it with: mtlsproxyctl resume", func(s *tlsclient.EndpointState) { s.Drained, s.Down = true, true })
}

func TestTheLastErrorOfAnEndpointIsTheLaterOne(t *testing.T) {
	now := time.Now()
	s := tlsclient.EndpointState{
		LastError: &tlsclient.Error{Class: tlsclient.UpstreamReset, Err: errors.New("reset")}, LastTime: now.Add(-time.Minute),
		Unmade: &tlsclient.Error{Class: tlsclient.Overloaded, Err: syscall.EMFILE}, UnmadeTime: now,
	}
	if text, at := lastError(&s); at != now || text != "overloaded: this host could not make a connection: too many open files; see source of the upstream, and LimitNOFILE" {
		t.Errorf("got %s, %v", text, at)
	}
	s.LastTime = now.Add(time.Minute)
	if text, at := lastError(&s); at != s.LastTime || text != "upstream_reset: reset" {
		t.Errorf("got %s, %v", text, at)
	}
}
