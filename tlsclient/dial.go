package tlsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

func portText(p uint16) string { return strconv.Itoa(int(p)) }

// dial opens a connection: TCP to one of the endpoint's addresses, then TLS.
func (l *link) dial(ex *exchange) (*conn, error) {
	u := l.pool.upstream
	tcp, addr, err := l.dialAny(ex)
	if err != nil {
		return nil, err
	}
	sock, err := rawconn.New(tcp)
	if err != nil {
		_ = tcp.Close() // the error below matters more
		return nil, l.fail(ex, Internal, FaultSelf, err)
	}
	sock.SetUserTimeout(userTimeout)
	now := time.Now()
	if err := l.pool.generation.valid(now); err != nil { // an exchange may have waited for long
		_ = tcp.Close() // nothing was sent
		return nil, err
	}
	c := &conn{link: l, addr: addr, sock: sock, records: records{Conn: sock}, expires: l.pool.expiry(now)}
	c.tls = tls.Client(&c.records, l.config)
	c.reader.Src = c
	c.tickFn, c.cleanFn = c.tick, c.closedCleanly
	c.begin(ex)
	until := ex.within(now.Add(u.opt().HandshakeTimeout))
	sock.ReadBy(until)
	sock.WriteBy(until)
	ended := ex.onEnd(c.cut)
	err = c.tls.Handshake()
	ended()
	c.end()
	if err != nil {
		_ = sock.Close() // nothing was agreed on that could be ended properly
		return nil, l.handshakeError(ex, err)
	}
	if err := l.pool.generation.valid(time.Now()); err != nil {
		c.close()
		return nil, err
	}
	l.endpoint.troubles.connected()
	c.describe()
	return c, nil
}

// dialAny connects to one of the endpoint's addresses.
func (l *link) dialAny(ex *exchange) (net.Conn, netip.AddrPort, error) {
	ctx, cancel := context.WithDeadline(ex.context(), ex.within(time.Now().Add(l.pool.upstream.opt().ConnectTimeout)))
	defer cancel()
	stop := ex.watch(cancel)
	tcp, addr, err := l.dialEach(ctx)
	stop()
	if err != nil {
		return nil, addr, l.dialError(ex, err)
	}
	return tcp, addr, nil
}

// dialEach connects to one of the endpoint's addresses, each time beginning with
// another.
func (l *link) dialEach(ctx context.Context) (net.Conn, netip.AddrPort, error) {
	u := l.pool.upstream
	u.mu.Lock()
	first := l.endpoint.next
	l.endpoint.next++
	u.mu.Unlock()
	return l.endpoint.dialFrom(ctx, u.opt(), first)
}

// dialFrom tries the addresses in turn, those of the endpoint or of the proxy it is reached
// through, beginning with the first. Each gets its share of the time that is left.
func (e *endpoint) dialFrom(ctx context.Context, o *Options, first int) (tcp net.Conn, addr netip.AddrPort, err error) {
	port := e.Port
	if o.Via != nil {
		port = o.Via.Address.Port
	}
	ips, err := e.addresses.get(ctx)
	if err != nil {
		return nil, addr, o.Via.explain(err)
	}
	for i := range ips {
		addr = netip.AddrPortFrom(ips[(first+i)%len(ips)], port)
		if tcp, err = dialOne(ctx, o.Dial, addr, len(ips)-i); err == nil {
			break
		}
	}
	if err == nil && o.Via != nil {
		tcp, err = o.Via.tunnel(ctx, tcp, e.name)
	}
	return tcp, addr, o.Via.explain(err)
}

// dialAgain connects to one address that dialFrom has found.
func (e *endpoint) dialAgain(ctx context.Context, o *Options, addr netip.AddrPort) (net.Conn, error) {
	tcp, err := o.Dial(ctx, addr)
	if err == nil && o.Via != nil {
		tcp, err = o.Via.tunnel(ctx, tcp, e.name)
	}
	return tcp, o.Via.explain(err)
}

func dialOne(ctx context.Context, dial func(context.Context, netip.AddrPort) (net.Conn, error), a netip.AddrPort, left int) (net.Conn, error) {
	end, _ := ctx.Deadline()
	share, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
	defer cancel()
	return dial(share, a)
}

// fail makes an error of what went wrong with an endpoint, which remembers it if it
// was its own fault. What a health check met with is remembered by that.
func (l *link) fail(ex *exchange, class Class, fault Fault, err error) *Error {
	e := &Error{Class: class, Fault: fault, Endpoint: l.endpoint.name, Err: err}
	if ex.check {
		return e
	}
	if class == ClientCertRejected {
		l.refused()
	}
	if fault == FaultUpstream && !l.outdated(class) {
		l.endpoint.troubles.add(e)
	}
	return e
}

func (l *link) dialError(ex *exchange, err error) error {
	if ex.ended() {
		return ex.stopped
	}
	class, fault := dialClass(err)
	e := l.fail(ex, class, fault, err)
	if fault == FaultSelf {
		l.endpoint.troubles.prevent(e) // a check's too: there may be nothing else to tell of it
	}
	return e
}

// dialClass tells what it is that no TCP connection could be made.
func dialClass(err error) (Class, Fault) {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return ConnectTimeout, FaultUpstream
	}
	_, unfit := errors.AsType[*net.AddrError](err) // the source is of another family than the endpoint
	switch {
	case isAny(err, noDescriptors):
		return Overloaded, FaultSelf
	case unfit, isAny(err, ourDoing):
		return ConnectFailed, FaultSelf
	}
	return ConnectFailed, FaultUpstream
}

// Errors of a dial that are this host's, not the upstream's doing: there is no descriptor
// left for it; or there is no port, no memory or no permission, or the source address is
// none of this host's or cannot reach the endpoint's.
var (
	noDescriptors = []error{syscall.EMFILE, syscall.ENFILE}
	ourDoing      = []error{
		syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM, syscall.EINVAL, syscall.EAFNOSUPPORT,
	}
)

func isAny(err error, of []error) bool {
	return slices.ContainsFunc(of, func(one error) bool { return errors.Is(err, one) })
}

func (l *link) handshakeError(ex *exchange, err error) error {
	if ex.ended() {
		return ex.stopped
	}
	class, err := handshakeClass(err, l.pool.upstream.opt().HandshakeTimeout)
	return l.fail(ex, class, FaultUpstream, err)
}

// handshakeClass tells what it is that a handshake failed, and says so of err.
func handshakeClass(err error, limit time.Duration) (Class, error) {
	var verify *tls.CertificateVerificationError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ConnectTimeout, fmt.Errorf("the TLS handshake took longer than %v", limit)
	case errors.As(err, &verify):
		return TLSVerifyFailed, err
	}
	return alertClass(err), fmt.Errorf("TLS handshake: %w", err)
}

// refusals are the alerts by which a server refuses a client's certificate, RFC
// 8446 6.2.
var refusals = []tls.AlertError{
	42,  // bad_certificate
	43,  // unsupported_certificate
	44,  // certificate_revoked
	45,  // certificate_expired
	46,  // certificate_unknown
	48,  // unknown_ca
	49,  // access_denied
	116, // certificate_required
}

// remoteAlert returns the alert that the peer sent, or nil.
func remoteAlert(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err
	}
	return nil
}

// alertClass tells a refusal of our certificate from other TLS failures. Under
// TLS 1.3 it arrives only after the handshake, with the first read.
func alertClass(err error) Class {
	alert := remoteAlert(err)
	if alert == nil {
		return TLSFailed
	}
	// crypto/tls keeps the type of received alerts to itself; their texts are those
	// of AlertError.
	if slices.ContainsFunc(refusals, func(a tls.AlertError) bool { return a.Error() == alert.Error() }) {
		return ClientCertRejected
	}
	return TLSFailed
}
