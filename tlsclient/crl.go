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

// makeCRL takes no list that has run out in place of one that has not: every server it
// is about would be refused from then on.
func (id Identity) makeCRL(g *Generation, m *Material, inUse *Generation, now time.Time) error {
	var reason Reason
	var err error
	if g.crl, reason, err = parseCRL(m.CRL); err == nil {
		var before *revocations
		if inUse != nil {
			before = inUse.crl
		}
		reason, err = ReasonExpired, g.crl.worse(before, now)
	}
	if err != nil {
		return &LoadError{Reason: reason, Path: id.CRL, Err: fmt.Errorf("revocation lists %q: %w", id.CRL, err)}
	}
	return nil
}

// CRLUntil returns when the first of the revocation lists in use runs out, after which
// no server of its issuer is accepted; zero: there are none, or none says. A list that a
// newer one of its issuer stands beside does not count.
func (g *Generation) CRLUntil() time.Time {
	var first time.Time
	if g.crl == nil {
		return first
	}
	for _, list := range g.crl.newest() {
		if end := list.NextUpdate; !end.IsZero() && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	return first
}

// newest returns the newest list of each issuer and key.
func (r *revocations) newest() []*x509.RevocationList {
	var out []*x509.RevocationList
	for _, list := range r.lists {
		i := slices.IndexFunc(out, func(o *x509.RevocationList) bool { return sameIssuer(o, list) })
		switch {
		case i < 0:
			out = append(out, list)
		case list.ThisUpdate.After(out[i].ThisUpdate):
			out[i] = list
		}
	}
	return out
}

func sameIssuer(a, b *x509.RevocationList) bool {
	return bytes.Equal(a.RawIssuer, b.RawIssuer) && bytes.Equal(a.AuthorityKeyId, b.AuthorityKeyId)
}

func ranOut(list *x509.RevocationList, now time.Time) bool {
	return !list.NextUpdate.IsZero() && now.After(list.NextUpdate)
}

// worse is why r must not take the place of before, which may be nil: a list in it has
// run out whose issuer's has not yet, or every one in it has. Beside others, one that
// has run out does no harm to their servers, as that of an authority of former times.
func (r *revocations) worse(before *revocations, now time.Time) error {
	var was []*x509.RevocationList
	if before != nil {
		was = before.newest()
	}
	current := func(list *x509.RevocationList) bool { return !ranOut(list, now) }
	lists := r.newest()
	dead := !slices.ContainsFunc(lists, current) && (before == nil || slices.ContainsFunc(was, current))
	for _, list := range lists {
		replaces := func(o *x509.RevocationList) bool { return sameIssuer(o, list) && current(o) }
		if ranOut(list, now) && (dead || slices.ContainsFunc(was, replaces)) {
			return fmt.Errorf("that of issuer %q ran out on %s; put a current one in its place", list.Issuer, list.NextUpdate.UTC().Format(time.RFC3339))
		}
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
		if ranOut(list, now) {
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
