package proxy

import (
	"errors"
	"io"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// forever stands for a tunnel that may be silent as long as it likes.
const forever = 10 * 365 * 24 * time.Hour

// end is one end of a tunnel.
type end interface {
	Read(*rawconn.Buffers) (buf []byte, n int, err error)
	Write(p []byte, deadline time.Time) error
	CloseWrite() error
	Cut()
}

// tunnel joins the client's connection to the upstream's until both have ended,
// one has failed, or nothing has moved for the time of idle.
func (e *exchange) tunnel(idle time.Duration) {
	client, err := e.x.Tunnel()
	if err != nil {
		e.blame(tlsclient.ClientGone, tlsclient.FaultClient)
		return
	}
	upstream := e.resp.Tunnel()
	cut := func() {
		client.Cut()
		upstream.Cut()
	}
	if idle == 0 {
		idle = forever
	}
	timer := time.AfterFunc(idle, cut)
	defer timer.Stop()
	back := make(chan struct{})
	var ended error
	go func() {
		defer close(back)
		ended = e.pass(client, upstream, timer, idle, cut)
	}()
	_ = e.pass(upstream, client, timer, idle, cut) // a client that goes is no error
	<-back
	if cause, ok := errors.AsType[*tlsclient.Error](ended); ok { // its certificate has expired
		e.blame(cause.Class, cause.Fault)
	}
}

// pass copies from one end to the other until the first ends its stream, and returns
// why it could not be read to its end.
func (e *exchange) pass(to, from end, timer *time.Timer, idle time.Duration, cut func()) error {
	for {
		buf, n, err := from.Read(e.p.Buffers)
		if errors.Is(err, io.EOF) {
			err = to.CloseWrite()
			if err != nil {
				cut()
			}
			return nil
		}
		if err != nil {
			cut()
			return err
		}
		timer.Reset(idle)
		err = to.Write(buf[:n], time.Now().Add(idle))
		e.p.Buffers.Put(buf)
		if err != nil {
			cut()
			return nil
		}
	}
}
