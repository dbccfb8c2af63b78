package tlsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Probe is what came of a handshake with an endpoint that no request followed.
type Probe struct {
	Endpoint  string         // host:port
	Address   netip.AddrPort // that was connected to, or tried last
	Connect   time.Duration  // making the TCP connection
	Handshake time.Duration

	// What was agreed on, as far as it went.
	Version uint16
	Cipher  uint16
	ALPN    string
	Chain   []*x509.Certificate // what the server showed, even if it was refused; the leaf first

	// What the server said of client certificates; nothing if its own was refused.
	Asked    bool     // for one
	Accepts  []string // the CAs it takes, RFC 2253; none: it did not say
	Accepted bool     // it asked and named none, or one that issued something in our chain
	Resumed  bool     // a second handshake resumed the session of the first

	Class Class // empty: the server took the certificate, or did not ask for one
	Err   error // names cause and remedy as an Error's does; nil with an empty Class
}

// Doubtful is the class of a probe, and of nothing else, if the server has made its
// handshake with our certificate although it is of none of the CAs that it accepts. Such
// a server may yet refuse every request.
const Doubtful Class = "doubtful"

const (
	// probesAtOnce is how many endpoints are probed at the same time.
	probesAtOnce = 16
	// verdictTime is how long a probe waits for the server's verdict on our certificate,
	// which under TLS 1.3 comes after the handshake.
	verdictTime = 500 * time.Millisecond
)

// Probe makes handshakes with every endpoint, showing g, and tells in the order of
// Options.Endpoints what came of them; drained endpoints too. Of an endpoint's addresses
// the first that can be connected to is probed, beginning with the one whose turn it is.
// Names, times and pins are those of exchanges, but nothing is taken from or left with
// their connections, counters or what is known of endpoints. A certificate that has
// expired is not shown, nor is there anything to show if g is nil.
//
// No request is sent. A server that makes its handshake with everybody and refuses a
// certificate only in its answers, as nginx does with 400, is not found out, unless it
// names the CAs that it accepts and ours is none of them: see Doubtful.
func (u *Upstream) Probe(ctx context.Context, g *Generation) []Probe {
	out := make([]Probe, len(u.endpoints))
	room := make(chan struct{}, probesAtOnce)
	var running sync.WaitGroup
	for i, e := range u.endpoints {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			p := prober{upstream: u, options: u.opt(), endpoint: e, generation: g}
			p.Endpoint = e.name
			p.run(ctx)
			out[i] = p.Probe
		})
	}
	running.Wait()
	return out
}

// prober makes one Probe.
type prober struct {
	Probe
	upstream   *Upstream
	options    *Options
	endpoint   *endpoint
	generation *Generation
}

func (p *prober) run(ctx context.Context) {
	if e := asError(p.unfit()); e != nil {
		p.Class, p.Err = e.Class, e.Err
		return
	}
	tcp := p.connect(ctx)
	if tcp == nil {
		return
	}
	var tickets tickets
	config := p.config(&tickets)
	ok := p.handshake(ctx, tls.Client(tcp, config), &tickets)
	_ = tcp.Close() // it has served
	if ok && tickets.got {
		p.Resumed = p.resumes(ctx, config)
	}
}

// unfit is why nothing can be shown.
func (p *prober) unfit() error {
	if p.generation != nil {
		return p.generation.valid(time.Now())
	}
	p.upstream.mu.Lock()
	defer p.upstream.mu.Unlock()
	return p.upstream.lacking()
}

// connect makes a TCP connection, or says why there is none.
func (p *prober) connect(ctx context.Context) net.Conn {
	p.upstream.mu.Lock()
	first := p.endpoint.next
	p.upstream.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, p.options.ConnectTimeout)
	defer cancel()
	begun := time.Now()
	tcp, addr, err := p.endpoint.dialFrom(limited, p.options, first)
	p.Address, p.Connect = addr, time.Since(begun)
	if err != nil {
		p.Class, _ = dialClass(err)
		p.fail(ctx, err)
		return nil
	}
	return tcp
}

// config is the configuration of an exchange's connection with ears.
func (p *prober) config(t *tickets) *tls.Config {
	config := p.generation.config(p.endpoint.serverName(p.options), p.options)
	t.ClientSessionCache, config.ClientSessionCache = config.ClientSessionCache, t
	show := config.GetClientCertificate
	config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		p.Asked, p.Accepts = true, distinguished(r.AcceptableCAs)
		p.Accepted = p.generation.issuedByOne(r.AcceptableCAs)
		return show(r)
	}
	return config
}

// handshake reports whether the server has taken our certificate, as far as can be told.
func (p *prober) handshake(ctx context.Context, c *tls.Conn, t *tickets) bool {
	limited, cancel := context.WithTimeout(ctx, p.options.HandshakeTimeout)
	defer cancel()
	begun := time.Now()
	err := c.HandshakeContext(limited)
	p.Handshake = time.Since(begun)
	cs := c.ConnectionState()
	p.Version, p.Cipher, p.ALPN, p.Chain = cs.Version, cs.CipherSuite, cs.NegotiatedProtocol, cs.PeerCertificates
	if err != nil {
		if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			p.Chain = refused.UnverifiedCertificates
		}
		p.Class, err = handshakeClass(err, p.options.HandshakeTimeout)
		p.fail(ctx, err)
		return false
	}
	if cs.Version == tls.VersionTLS13 {
		p.awaitVerdict(ctx, c, t)
	}
	_ = c.Close() // the goodbye changes nothing
	if p.Err == nil && p.Asked && !p.Accepted {
		p.Class = Doubtful
		p.Err = fmt.Errorf("the server made its handshake, but the certificate is of none of the CAs that it accepts (its issuer is %q): it may refuse every request; have it issued by one of those, or have the server accept its CA",
			p.generation.Leaf.Issuer)
	}
	return p.Err == nil
}

// awaitVerdict waits for an alert. A session ticket is the opposite of one: a server
// makes it once it has seen our certificate, RFC 8446 4.6.1.
func (p *prober) awaitVerdict(ctx context.Context, c *tls.Conn, t *tickets) {
	hurry := func() { _ = c.SetReadDeadline(time.Unix(1, 0)) } // fails only on a closed connection
	_ = c.SetReadDeadline(time.Now().Add(verdictTime))
	defer context.AfterFunc(ctx, hurry)()
	t.arrived = hurry
	n, err := c.Read(make([]byte, 1))
	t.arrived = nil
	switch {
	case n > 0:
		p.Class, p.Err = UpstreamBadResponse, errors.New("the server sent content before any request")
	case errors.Is(err, os.ErrDeadlineExceeded) && (t.got || ctx.Err() == nil): // nothing was said against it
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.Class = ConnectTimeout
		p.fail(ctx, err)
	case remoteAlert(err) != nil:
		p.Class, p.Err = alertClass(err), err
	case errors.Is(err, io.EOF):
		p.Class, p.Err = UpstreamReset, errors.New("the server ended the connection right after the handshake, without saying why; its log may tell whether it refused our certificate")
	default:
		p.Class, p.Err = UpstreamReset, fmt.Errorf("the connection broke right after the handshake; the server's log may tell whether it refused our certificate: %w", err)
	}
}

// resumes makes a second connection to the same address and reports whether it resumed
// the session of the first.
func (p *prober) resumes(ctx context.Context, config *tls.Config) bool {
	limited, cancel := context.WithTimeout(ctx, p.options.ConnectTimeout+p.options.HandshakeTimeout)
	defer cancel()
	tcp, err := p.endpoint.dialAgain(limited, p.options, p.Address)
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }() // it has served
	c := tls.Client(tcp, config)
	if c.HandshakeContext(limited) != nil {
		return false
	}
	resumed := c.ConnectionState().DidResume
	_ = c.Close() // the goodbye changes nothing
	return resumed
}

// fail keeps err, unless whoever asked for the probe has ended it.
func (p *prober) fail(ctx context.Context, err error) {
	p.Err = err
	if ctx.Err() == nil {
		return
	}
	p.Err = fmt.Errorf("the probe was ended: %w", context.Cause(ctx))
	if errors.Is(ctx.Err(), context.Canceled) {
		p.Class = ClientGone
	}
}

// tickets is a session cache that tells of what is put into it.
type tickets struct {
	tls.ClientSessionCache
	got     bool
	arrived func() // nil: nobody waits
}

// Put implements tls.ClientSessionCache.
func (t *tickets) Put(key string, s *tls.ClientSessionState) {
	t.ClientSessionCache.Put(key, s)
	if s == nil { // one is taken away
		return
	}
	t.got = true
	if t.arrived != nil {
		t.arrived()
	}
}
