package tlsclient_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// deaf makes the kernel drop everything that arrives for the connection, as if its host
// were gone: no acknowledgement, no reset.
func deaf(t *testing.T, c *tlstest.Conn) {
	raw, err := c.TCP.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			drop := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}}
			if err := unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &drop); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Error(err)
	}
}

// Of two connections one dies while it is idle, so that the next request is never
// acknowledged, and one while an answer is awaited, so that nothing is under way.
func TestFaultDeadPeerIsNoticedWithinFifteenSeconds(t *testing.T) {
	var both, dead sync.WaitGroup
	both.Add(2)
	dead.Add(1)
	f := start(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		both.Done()
		if both.Wait(); c.Write(tlstest.OK) != nil {
			return
		}
		if c.Index == 0 {
			deaf(t, c)
			dead.Done()
		} else if _, err := c.ReadRequest(); err == nil {
			time.Sleep(100 * time.Millisecond) // until the request is acknowledged
			deaf(t, c)
		}
		<-c.Stopping()
	}, func(o *tlsclient.Options) { o.HeaderTimeout = time.Minute })
	_, wait := f.many(2)
	wait()
	dead.Wait()
	begin := time.Now()
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			a := f.do(f.request("POST"))
			took := time.Since(begin)
			t.Logf("%v after %v", a.err, took.Round(10*time.Millisecond))
			var e *tlsclient.Error
			if !errors.As(a.err, &e) || e.Class != tlsclient.UpstreamReset || took < 5*time.Second || took > 15*time.Second {
				t.Errorf("got %v after %v", a.err, took)
			}
		})
	}
	running.Wait()
}
