package keystore

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"errors"
	"slices"

	"software.sslmate.com/src/go-pkcs12"
)

// maxCertificates bounds what a PKCS #12 store may hold, as each may have to be tried
// as the issuer of each other.
const maxCertificates = 100

// Pair is what a PKCS #12 store holds.
type Pair struct {
	Key    crypto.Signer
	Chain  []*x509.Certificate // the key's certificate, then its issuers in order, without the root; empty: there is none for the key
	Others []*x509.Certificate // all others, in the order of the store
}

// PKCS12 opens a PKCS #12 store, RFC 7292, with one key, as openssl pkcs12 -export makes
// them. name is how commands in errors call the file that data comes from. passphrase
// nil: there is none, and nothing in the store may be encrypted.
func PKCS12(name string, data, passphrase []byte) (*Pair, error) {
	return newOpener(name, passphrase).pkcs12(data)
}

func (o *opener) pkcs12(data []byte) (*Pair, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &Error{Problem: Empty, text: "it is empty"}
	}
	s, err := survey(data)
	if err != nil {
		return nil, malformed("it is no PKCS #12 store in DER, or is not whole; %s", reexport(o.name))
	}
	passphrase := o.passphrase
	switch {
	case s.rounds > o.rounds:
		return nil, o.tooCostly(s.rounds)
	case passphrase == nil && s.encrypted:
		return nil, noPassphrase()
	case passphrase != nil && s.encrypted && !s.checked:
		return nil, unsupported("it has no integrity check (MAC); %s", reexport(o.name))
	case bytes.ContainsFunc(passphrase, func(r rune) bool { return r > 0xffff }):
		return nil, &Error{Problem: Passphrase, text: "the passphrase has a character that PKCS #12 cannot express, such as an emoji; " + reexport(o.name)}
	case !s.encrypted && !s.checked:
		passphrase = nil // nothing depends on it
	}
	key, first, others, err := pkcs12.DecodeChain(data, string(passphrase))
	if err != nil {
		return nil, explain(o.name, err, passphrase)
	}
	certs := append([]*x509.Certificate{first}, others...)
	if len(certs) > maxCertificates {
		return nil, unsupported("it holds %d certificates, and no more than %d are looked through; leave out what is not of the key's chain", len(certs), maxCertificates)
	}
	p := &Pair{}
	if p.Key, err = signer(key); err != nil {
		return nil, err
	}
	p.sort(certs)
	return p, nil
}

// explain says what an error of the library means. Of those that could quote what they
// have read, it says nothing more.
func explain(name string, err error, passphrase []byte) error {
	var missing pkcs12.NotImplementedError
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && passphrase == nil:
		return noPassphrase()
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return wrongPassphrase()
	case errors.As(err, &missing):
		return unsupported("it is made in a way that is not read here (%s); %s", string(missing), reexport(name))
	}
	return malformed("it does not hold one private key and its certificate, or cannot be parsed; %s", reexport(name))
}

// reexport is the command that makes of what OpenSSL can read a store that is read here.
func reexport(name string) string {
	return "make it again, with: openssl pkcs12 -export -inkey KEY -in CHAIN -out " + name
}

// sort finds the chain of the key among the certificates.
func (p *Pair) sort(certs []*x509.Certificate) {
	left := slices.Clone(certs)
	for next := p.leaf(left); next != nil; next = issuer(p.Chain[len(p.Chain)-1], left) {
		p.Chain = append(p.Chain, next)
		left = slices.DeleteFunc(left, func(c *x509.Certificate) bool { return c.Equal(next) })
	}
	p.Others = left
}

// leaf returns the certificate of the key; of several, the one that is good for longest.
func (p *Pair) leaf(certs []*x509.Certificate) *x509.Certificate {
	public, ok := p.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil
	}
	var own []*x509.Certificate
	for _, c := range certs {
		if public.Equal(c.PublicKey) {
			own = append(own, c)
		}
	}
	if len(own) == 0 {
		return nil
	}
	return slices.MaxFunc(own, func(a, b *x509.Certificate) int { return cmp.Compare(a.NotAfter.Unix(), b.NotAfter.Unix()) })
}

// issuer returns the intermediate that has signed c, or else one with the right name, or
// nil. Roots are left out: who verifies the chain has them, or does not believe them.
func issuer(c *x509.Certificate, certs []*x509.Certificate) *x509.Certificate {
	var named *x509.Certificate
	for _, i := range certs {
		if !bytes.Equal(i.RawSubject, c.RawIssuer) || bytes.Equal(i.RawSubject, i.RawIssuer) {
			continue
		}
		if c.CheckSignatureFrom(i) == nil {
			return i
		}
		if named == nil {
			named = i
		}
	}
	return named
}
