package tlsclient

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookout notices that the peer of a tunnel is gone while something is under way to it.
// TCP's own bound is off there: it cannot tell a peer that is gone from one that takes
// nothing for a while. So what TCP knows is looked at from time to time, from a write on
// until all is acknowledged. While nothing is under way, keep-alive probes do it.
type lookout struct {
	conn *conn
	on   atomic.Bool // there will be a look

	mu    sync.Mutex
	timer *time.Timer // nil: nothing was written yet
	ended bool
}

// lookAgain is the time between two looks once there was no word for long.
const lookAgain = time.Second

// wrote is told of every write once it was made: were it before, a look in between could
// be the last one, and find nothing.
func (l *lookout) wrote() {
	if l.on.Load() || !l.on.CompareAndSwap(false, true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
	case l.timer == nil:
		l.timer = time.AfterFunc(userTimeout, l.look)
	default:
		l.timer.Reset(userTimeout)
	}
}

func (l *lookout) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	gone, next := silence(l.conn.tcpInfo())
	if next == 0 { // for now: what is written from here on begins anew
		l.on.Store(false)
		if _, next = silence(l.conn.tcpInfo()); next == 0 || !l.on.CompareAndSwap(false, true) {
			return
		}
	}
	if gone {
		l.conn.mourn()
		return
	}
	l.timer.Reset(next)
}

// stop ends it. No look is taken after it returns.
func (l *lookout) stop() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// silence tells from what TCP knows whether its peer is gone, or else when to look again;
// 0 is never, since nothing is under way. A peer that lives answers whatever it is sent,
// and probes too, if need be by saying that it has no room. But TCP sends less and less
// often to one without room, so it is not enough that there was no word for long:
// something must have been sent since, a while ago.
func silence(i *unix.TCPInfo) (gone bool, next time.Duration) {
	if i.Unacked == 0 && i.Notsent_bytes == 0 {
		return false, 0
	}
	silent, sent := milliseconds(i.Last_ack_recv), milliseconds(i.Last_data_sent)
	unanswered := i.Probes > 1 || i.Unacked > 0 && sent >= lookAgain && silent > sent+lookAgain/10
	if unanswered && silent >= userTimeout-lookAgain/10 { // the kernel's clock is a coarse one
		return true, lookAgain
	}
	return false, max(userTimeout-silent, lookAgain)
}

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

// tcpInfo is what TCP knows of the connection; nothing if it is closed, or not TCP.
func (c *conn) tcpInfo() *unix.TCPInfo {
	info := new(unix.TCPInfo)
	if sc, ok := c.sock.NetConn().(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
					info = i
				}
			}) // fails only on a closed socket
		}
	}
	return info
}

// mourn ends a tunnel whose peer is gone.
func (c *conn) mourn() {
	u := c.link.pool.upstream
	err := c.link.fail(c.exchange, UpstreamReset, FaultUpstream,
		fmt.Errorf("the other end of the tunnel is gone: it has acknowledged nothing for %v", userTimeout))
	u.mu.Lock()
	c.doom.CompareAndSwap(nil, &doom{why: closedUnfit, err: err})
	u.mu.Unlock()
	c.cut()
}
