package tlsclient

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// revocations are the parsed revocation lists of an identity, RFC 5280 5.
type revocations struct {
	lists []*x509.RevocationList
}

func (r *revocations) same(other *revocations) bool {
	if r == nil || other == nil {
		return r == other
	}
	return slices.EqualFunc(r.lists, other.lists, func(a, b *x509.RevocationList) bool { return bytes.Equal(a.Raw, b.Raw) })
}

func (id Identity) makeCRL(g *Generation, m *Material) error {
	var reason Reason
	var err error
	if g.crl, reason, err = parseCRL(m.CRL); err != nil {
		return &LoadError{Reason: reason, Path: id.CRL, Err: fmt.Errorf("revocation lists %q: %w", id.CRL, err)}
	}
	return nil
}

// parseCRL reads one list in DER, or all lists in PEM. One that cannot be read spoils
// all.
func parseCRL(data []byte) (*revocations, Reason, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, ReasonEmpty, errors.New("it holds no revocation list")
	}
	blocks := [][]byte{bytes.Clone(data)} // the list refers to its encoding
	if bytes.Contains(data, []byte("-----BEGIN")) {
		var err error
		if blocks, err = pemBlocks(data, "X509 CRL"); err != nil {
			return nil, ReasonMalformed, err
		}
		if len(blocks) == 0 {
			return nil, absent(data), errors.New("it holds no revocation list")
		}
	}
	r := &revocations{}
	for i, der := range blocks {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, ReasonMalformed, fmt.Errorf("parsing list %d: %w", i+1, err)
		}
		r.lists = append(r.lists, list)
	}
	return r, "", nil
}

// check passes if some chain is free of revoked certificates. The leaf must be
// covered by a current list; an intermediate is looked up where there is one.
func (r *revocations) check(chains [][]*x509.Certificate, now time.Time) error {
	err := errors.New("there is no verified chain to check for revocation")
	for _, chain := range chains {
		if err = r.checkChain(chain, now); err == nil {
			return nil
		}
	}
	return err
}

func (r *revocations) checkChain(chain []*x509.Certificate, now time.Time) error {
	if len(chain) < 2 {
		return errors.New("a trust anchor itself cannot be checked for revocation")
	}
	for i := 0; i+1 < len(chain); i++ {
		list := r.issuedBy(chain[i+1])
		if list == nil {
			if i == 0 {
				return fmt.Errorf("no revocation list of issuer %q", chain[1].Subject)
			}
			continue
		}
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			return fmt.Errorf("the revocation list of issuer %q ran out on %s", chain[i+1].Subject, list.NextUpdate.UTC().Format(time.RFC3339))
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(chain[i].SerialNumber) == 0 {
				return fmt.Errorf("the certificate with serial %x was revoked on %s", e.SerialNumber, e.RevocationTime.UTC().Format(time.RFC3339))
			}
		}
	}
	return nil
}

// issuedBy returns the newest list that issuer has signed.
func (r *revocations) issuedBy(issuer *x509.Certificate) *x509.RevocationList {
	var newest *x509.RevocationList
	for _, list := range r.lists {
		if bytes.Equal(list.RawIssuer, issuer.RawSubject) && list.CheckSignatureFrom(issuer) == nil &&
			(newest == nil || list.ThisUpdate.After(newest.ThisUpdate)) {
			newest = list
		}
	}
	return newest
}
