package tlsclient_test

import (
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// That its endpoint was alive, its beginning has told.
func TestEndOfATunnelSaysNothingOfItsEndpoint(t *testing.T) {
	const failures = 6
	f := start(t, func(c *tlstest.Conn) {
		r, err := c.ReadRequest()
		switch {
		case err != nil:
		case r.Header.Get("Upgrade") == "":
			c.End(tlstest.Reset)
		case c.Write(switching) == nil:
			c.WaitClosed()
		}
	})
	fail := func() {
		for range failures {
			f.do(f.request("POST")).refused(t, tlsclient.UpstreamReset, tlsclient.FaultUpstream)
		}
	}
	fail()
	req, a := f.request("GET"), new(answer)
	req.WebSocket = true
	if err := f.upstream.Do(req, &a.Response); err != nil {
		t.Fatal(err)
	}
	if n := f.upstream.State().Endpoints[0].ConsecutiveFailures; n != 0 {
		t.Errorf("after it has begun, %d failures in a row", n)
	}
	a.Tunnel()
	fail()
	a.Close()
	if n := f.upstream.State().Endpoints[0].ConsecutiveFailures; n != failures {
		t.Errorf("after its end, %d failures in a row, want %d", n, failures)
	}
}
