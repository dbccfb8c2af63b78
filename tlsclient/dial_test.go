package tlsclient_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// failDials makes every dial fail with the error while there is one.
func failDials(err *atomic.Pointer[error]) func(*tlsclient.Options) {
	return func(o *tlsclient.Options) {
		o.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			if e := err.Load(); e != nil {
				return nil, *e
			}
			return new(net.Dialer).DialContext(ctx, "tcp", a.String())
		}
	}
}

func TestWhatKeepsThisHostFromConnectingIsToldApart(t *testing.T) {
	var failure atomic.Pointer[error]
	f := start(t, tlstest.Static(tlstest.OK), failDials(&failure))
	wrong := error(&net.OpError{Op: "dial", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)})
	failure.Store(&wrong)
	f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultSelf)
	s := f.upstream.State().Endpoints[0]
	if s.Unmade == nil || !errors.Is(s.Unmade, syscall.EADDRNOTAVAIL) || s.UnmadeTime.IsZero() {
		t.Errorf("it remembers %v of %v", s.Unmade, s.UnmadeTime)
	}
	if s.Failures != 0 || s.LastError != nil || s.Down || s.ConsecutiveFailures != 0 {
		t.Errorf("it is held against the endpoint: %+v", s)
	}
	failure.Store(nil)
	f.do(f.request("GET")).expect(t, 200, "ok")
	if s := f.upstream.State().Endpoints[0]; s.Unmade != nil {
		t.Errorf("it is remembered after a connection was made: %v", s.Unmade)
	}
}

func TestResetForgetsWhatKeptThisHostFromConnecting(t *testing.T) {
	var failure atomic.Pointer[error]
	f := start(t, nil, failDials(&failure))
	wrong := error(syscall.EADDRNOTAVAIL)
	failure.Store(&wrong)
	f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultSelf)
	f.upstream.Reset("")
	if s := f.upstream.State().Endpoints[0]; s.Unmade != nil {
		t.Errorf("it still remembers %v", s.Unmade)
	}
}

func TestErrorsOfADialHaveTheirClass(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		class tlsclient.Class
		fault tlsclient.Fault
	}{
		"no descriptor of the process": {syscall.EMFILE, tlsclient.Overloaded, tlsclient.FaultSelf},
		"no descriptor of the system":  {syscall.ENFILE, tlsclient.Overloaded, tlsclient.FaultSelf},
		"no port":                      {syscall.EADDRNOTAVAIL, tlsclient.ConnectFailed, tlsclient.FaultSelf},
		"a source that leads nowhere":  {syscall.EINVAL, tlsclient.ConnectFailed, tlsclient.FaultSelf},
		"a firewall of this host":      {syscall.EPERM, tlsclient.ConnectFailed, tlsclient.FaultSelf},
		"a source of another family":   {&net.AddrError{Err: "mismatched local address type"}, tlsclient.ConnectFailed, tlsclient.FaultSelf},
		"nobody there":                 {syscall.ECONNREFUSED, tlsclient.ConnectFailed, tlsclient.FaultUpstream},
		"no way there":                 {syscall.ENETUNREACH, tlsclient.ConnectFailed, tlsclient.FaultUpstream},
	} {
		t.Run(name, func(t *testing.T) {
			var failure atomic.Pointer[error]
			err := error(&net.OpError{Op: "dial", Err: c.err})
			failure.Store(&err)
			f := start(t, nil, failDials(&failure))
			f.do(f.request("GET")).refused(t, c.class, c.fault)
		})
	}
}

func TestASourceOfAnotherFamilyIsThisHostsFault(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.Source = netip.MustParseAddr("::1") })
	f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultSelf)
}

// 192.0.2.0/24 is nobody's, RFC 5737.
func TestASourceThatIsNotHereIsThisHostsFault(t *testing.T) {
	f := start(t, tlstest.Static(tlstest.OK), func(o *tlsclient.Options) { o.Source = netip.MustParseAddr("192.0.2.1") })
	f.do(f.request("GET")).refused(t, tlsclient.ConnectFailed, tlsclient.FaultSelf)
}
