package tlsclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Pin is a subject alternative name that a server's certificate must carry.
// Exactly one field is set.
type Pin struct {
	DNS   string // compared without regard to case; no wildcards
	URI   string // compared exactly, as SPIFFE demands
	Email string
	IP    netip.Addr
}

// ParsePin reads "dns:NAME", "ip:ADDRESS", "email:ADDRESS", a URI such as
// "spiffe://trust/path", or a bare DNS name.
func ParsePin(s string) (Pin, error) {
	kind, rest, found := strings.Cut(s, ":")
	switch {
	case s == "":
		return Pin{}, errors.New("an empty name cannot be verified")
	case !found:
		return Pin{DNS: s}, nil
	case kind == "dns":
		return Pin{DNS: rest}, nil
	case kind == "email":
		return Pin{Email: rest}, nil
	case kind == "ip":
		addr, err := netip.ParseAddr(rest)
		if err != nil {
			return Pin{}, fmt.Errorf("parsing %q: %w", s, err)
		}
		return Pin{IP: addr.Unmap()}, nil
	}
	return Pin{URI: s}, nil
}

func (p Pin) matches(c *x509.Certificate) bool {
	switch {
	case p.DNS != "":
		return slices.ContainsFunc(c.DNSNames, func(n string) bool { return strings.EqualFold(n, p.DNS) })
	case p.URI != "":
		return slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == p.URI })
	case p.Email != "":
		return slices.Contains(c.EmailAddresses, p.Email)
	}
	for _, ip := range c.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok && addr.Unmap() == p.IP {
			return true
		}
	}
	return false
}

// verifier checks what crypto/tls does not: pins and revocation. With pins it
// checks the chain as well. It runs on resumed sessions too.
type verifier struct {
	generation *Generation
	pins       []Pin
}

func (v verifier) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	chains := cs.VerifiedChains
	if len(v.pins) > 0 {
		var err error
		if chains, err = v.chains(cs.PeerCertificates); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		leaf := cs.PeerCertificates[0]
		if !slices.ContainsFunc(v.pins, func(p Pin) bool { return p.matches(leaf) }) {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates,
				Err: fmt.Errorf("none of the names to verify is in the certificate (it has %s)", names(leaf))}
		}
	}
	if v.generation.crl == nil {
		return nil
	}
	if err := v.generation.crl.check(chains, time.Now()); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}

func (v verifier) chains(peer []*x509.Certificate) ([][]*x509.Certificate, error) {
	intermediates := x509.NewCertPool()
	for _, c := range peer[1:] {
		intermediates.AddCert(c)
	}
	return peer[0].Verify(x509.VerifyOptions{
		Roots:         v.generation.roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// names lists a certificate's alternative names for an error message.
func names(c *x509.Certificate) string {
	var out []string
	for _, n := range c.DNSNames {
		out = append(out, "dns:"+n)
	}
	for _, ip := range c.IPAddresses {
		out = append(out, "ip:"+ip.String())
	}
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	for _, m := range c.EmailAddresses {
		out = append(out, "email:"+m)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
