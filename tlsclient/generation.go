package tlsclient

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Generation is one immutable loading of an identity: leaf, chain, key, trust
// anchors and revocations. They are used together or not at all.
type Generation struct {
	Identity string
	Number   uint64
	Leaf     *x509.Certificate

	serial  string
	cert    tls.Certificate
	key     string // the URI of a key that is no file; empty: it came from one
	roots   *x509.CertPool
	anchors map[[sha256.Size]byte]struct{} // in roots; empty: the system's
	crl     *revocations                   // nil: no check
}

// Serial returns the leaf's serial number in hexadecimal.
func (g *Generation) Serial() string { return g.serial }

// Same reports whether two generations show the same certificates, with keys that both
// come from files or both from the same URI, and trust the same servers, so that one need
// not replace the other. The key itself needs no look: there is only one to a
// certificate. But one that was moved from a file into a token must not go on from
// memory, nor from a token that it was moved out of.
func (g *Generation) Same(other *Generation) bool {
	return g.Identity == other.Identity && g.key == other.key && slices.EqualFunc(g.cert.Certificate, other.cert.Certificate, bytes.Equal) &&
		g.roots.Equal(other.roots) && g.crl.same(other.crl)
}

// Intermediates returns how many certificates follow the leaf in its file.
func (g *Generation) Intermediates() int { return len(g.cert.Certificate) - 1 }

// valid reports whether the leaf may be shown to a server at now.
func (g *Generation) valid(now time.Time) error {
	if now.After(g.Leaf.NotAfter) {
		return &Error{Class: IdentityExpired, Fault: FaultSelf,
			Err: fmt.Errorf("the certificate of identity %q expired on %s", g.Identity, g.Leaf.NotAfter.UTC().Format(time.RFC3339))}
	}
	if now.Add(clockSkew).Before(g.Leaf.NotBefore) {
		return &Error{Class: IdentityUnavailable, Fault: FaultSelf,
			Err: fmt.Errorf("the certificate of identity %q is not valid before %s", g.Identity, g.Leaf.NotBefore.UTC().Format(time.RFC3339))}
	}
	return nil
}

// sessions is how many TLS sessions a generation keeps per endpoint.
const sessions = 32

// config makes the TLS configuration for one endpoint. The session cache lives
// and dies with it: a resumed session would show the server the certificate of
// the generation that made it.
func (g *Generation) config(name string, o *Options) *tls.Config {
	cfg := &tls.Config{
		ServerName:                  name,
		RootCAs:                     g.roots,
		MinVersion:                  max(o.MinVersion, tls.VersionTLS12),
		NextProtos:                  []string{"http/1.1"},
		ClientSessionCache:          tls.NewLRUClientSessionCache(sessions),
		DynamicRecordSizingDisabled: true, // it trades throughput for a browser's first paint
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &g.cert, nil // always, and the whole chain, whatever CAs the server names
		},
	}
	v := verifier{generation: g, pins: o.Pins}
	cfg.VerifyConnection = v.verify
	if len(o.Pins) > 0 {
		// The pins stand in place of the host name, which crypto/tls can leave
		// unchecked only together with everything else; verify does it all.
		cfg.InsecureSkipVerify = true //nolint:forbidigo // VerifyConnection verifies the chain and the pins
	}
	return cfg
}

// Anchors returns how many trust anchors there are, or 0 for those of the operating
// system.
func (g *Generation) Anchors() int { return len(g.anchors) }

// Missing returns how many of the trust anchors of other g does not have. Those of the
// operating system are not compared.
func (g *Generation) Missing(other *Generation) (anchors int) {
	if len(g.anchors) == 0 {
		return 0
	}
	for a := range other.anchors {
		if _, ok := g.anchors[a]; !ok {
			anchors++
		}
	}
	return anchors
}

// Unlisted returns how many issuers of revocation lists of other have none in g. If g has no
// lists at all, revocation is not to be checked, and there are none.
func (g *Generation) Unlisted(other *Generation) (issuers int) {
	if g.crl == nil || other.crl == nil {
		return 0
	}
	for _, was := range other.crl.newest() {
		if !slices.ContainsFunc(g.crl.lists, func(is *x509.RevocationList) bool { return sameIssuer(is, was) }) {
			issuers++
		}
	}
	return issuers
}
