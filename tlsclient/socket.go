package tlsclient

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// A peer that is gone without a word, since its host or a cable is, must be noticed within
// fifteen seconds: by probes when nothing is under way, tcp(7), and by the time that what
// was sent may stay without an acknowledgement.
const (
	keepAliveIdle     = 4 * time.Second
	keepAliveInterval = 2 * time.Second
	keepAliveCount    = 4
	// userTimeout also ends the probes, with the first that comes due after it: the kernel's
	// timers are late by up to a quarter of a second each, and what is idle is looked at
	// once a second.
	userTimeout = 11 * time.Second
)

// dialer makes TCP connections.
type dialer struct {
	source netip.Addr // the local address; the zero Addr: the system's choice
}

func (d dialer) dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	if d.source.IsValid() {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.source, 0))
	}
	return nd.DialContext(ctx, "tcp", a.String())
}
