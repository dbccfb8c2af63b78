package tlstest

import (
	"crypto/tls"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestRejectedSerial(t *testing.T) {
	leak.Check(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for how, want := range map[Rejection]int{Accept: 200, Unauthorized: 401, Forbidden: 403, Alert: 0} {
			for name, script := range map[string]Script{"script": Static(OK), "handler": Echo()} {
				ca := NewCA(t, CAOptions{})
				good, bad := ca.Client(t, "good"), ca.Client(t, "bad")
				s := NewServer(t, ServerOptions{CA: ca, Version: version, Script: script})
				s.Reject(bad.Serial(), how)
				status, _, err := get(t, client(t, ca, bad), s.URL)
				if status != want || (err != nil) != (want == 0) {
					t.Errorf("%s, %s, rejection %d: status %d, %v", tls.VersionName(version), name, how, status, err)
				}
				if status, _, err := get(t, client(t, ca, good), s.URL); status != 200 {
					t.Errorf("%s, %s, rejection %d: another serial has status %d, %v", tls.VersionName(version), name, how, status, err)
				}
				s.Reject(bad.Serial(), Accept)
				if status, _, err := get(t, client(t, ca, bad), s.URL); status != 200 {
					t.Errorf("%s, %s, after rejection %d: status %d, %v", tls.VersionName(version), name, how, status, err)
				}
				if got := s.Uses()[bad.Serial()].Rejected; got != min(int(how), 1) {
					t.Errorf("%d rejections counted", got)
				}
			}
		}
	}
}

func TestUsesOfASerial(t *testing.T) {
	leak.Check(t)
	ca := NewCA(t, CAOptions{})
	id := ca.Client(t, "app")
	s := NewServer(t, ServerOptions{CA: ca, Script: Static(OK)})
	c := client(t, ca, id)
	for range 2 {
		if _, _, err := get(t, c, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	use := s.Uses()[id.Serial()]
	if use.Handshakes != 1 || use.Open != 1 || use.Requests != 2 || use.Rejected != 0 || !use.Closed.IsZero() {
		t.Errorf("%+v", use)
	}
	if use.First.IsZero() || use.First != use.LastHandshake || !use.LastRequest.After(use.First) {
		t.Errorf("%+v", use)
	}
	c.CloseIdleConnections()
	s.Wait(t, "the connection to close", func(st Stats) bool { return st.Open == 0 })
	if use := s.Uses()[id.Serial()]; use.Open != 0 || use.Closed.Before(use.LastRequest) {
		t.Errorf("%+v", use)
	}
}
