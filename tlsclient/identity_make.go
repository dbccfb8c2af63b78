package tlsclient

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/keystore"
)

// Make is MakeAfter with nothing in use.
func (id Identity) Make(m *Material, number uint64, now time.Time) (*Generation, error) {
	return id.MakeAfter(nil, m, number, now)
}

// MakeAfter checks m together and returns it as generation number. m may never have been
// in the files: their paths only stand in the errors. now decides about validity. inUse
// is what it would take the place of, or nil: a revocation list that has run out is
// refused unless that is so already, and a certificate that is not valid yet if the one in
// use is. Every problem found is in the error, each as a
// *LoadError.
func (id Identity) MakeAfter(inUse *Generation, m *Material, number uint64, now time.Time) (*Generation, error) {
	if err := m.err(); ReasonOf(err) == ReasonChanging {
		return nil, err // what was read last may be a mixture
	}
	g := &Generation{Identity: id.Name, Number: number}
	errs := []error{m.err(), id.makePair(g, m, inUse, now), id.makeRoots(g, m, now)}
	if id.CRL != "" && !m.unread(id.CRL) {
		errs = append(errs, id.makeCRL(g, m, inUse, now))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

func (id Identity) makePair(g *Generation, m *Material, inUse *Generation, now time.Time) error {
	take := id.openPEM
	if id.PKCS12 != "" {
		take = id.openPKCS12
	}
	chain, key, err := take(m)
	if err != nil || key == nil { // nil: it could not be read
		return err
	}
	leaf := chain[0]
	if err := errors.Join(id.checkLeaf(leaf, now), id.early(leaf, inUse, now)); err != nil {
		return err
	}
	g.Leaf, g.serial = leaf, fmt.Sprintf("%x", leaf.SerialNumber)
	g.cert = tls.Certificate{PrivateKey: key, Leaf: leaf}
	if id.PKCS12 == "" && isURI(id.Key) {
		g.key = id.Key
	}
	for _, c := range chain {
		g.cert.Certificate = append(g.cert.Certificate, c.Raw)
	}
	return nil
}

// leafPath is the file that the leaf is in.
func (id Identity) leafPath() string {
	if id.PKCS12 != "" {
		return id.PKCS12
	}
	return id.Cert
}

// openPEM takes the chain and the key out of their files, or the key out of where its
// URI says. A nil key without an error is one that m is known not to have.
func (id Identity) openPEM(m *Material) ([]*x509.Certificate, crypto.Signer, error) {
	var chain []*x509.Certificate
	var key crypto.Signer
	var certErr, keyErr error
	if !m.unread(id.Cert) {
		chain, certErr = id.parseChain(m.Cert)
	}
	switch {
	case isURI(id.Key):
		if chain != nil {
			key, keyErr = id.openSigner(m, chain[0])
		}
	case !m.unread(id.Key) && !m.unread(id.Passphrase):
		key, keyErr = id.parseKey(m)
	}
	if err := errors.Join(certErr, keyErr); err != nil || chain == nil || key == nil {
		return nil, nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return nil, nil, &LoadError{Reason: ReasonMismatch, Path: id.Key,
			Err: fmt.Errorf("key %q does not belong to the certificate in %q; put the key there that the certificate was issued for", withoutQuery(id.Key), id.Cert)}
	}
	return chain, key, nil
}

func (id Identity) openPKCS12(m *Material) ([]*x509.Certificate, crypto.Signer, error) {
	if m.unread(id.PKCS12) || m.unread(id.Passphrase) {
		return nil, nil, nil
	}
	passphrase, err := id.passphrase(m)
	if err != nil {
		return nil, nil, err
	}
	pair, err := keystore.PKCS12(id.PKCS12, m.PKCS12, passphrase)
	if err != nil {
		return nil, nil, storeError("PKCS #12 store", id.PKCS12, err)
	}
	if len(pair.Chain) == 0 {
		return nil, nil, &LoadError{Reason: ReasonMismatch, Path: id.PKCS12,
			Err: fmt.Errorf("PKCS #12 store %q: none of its certificates (%d) belongs to its key; put the certificate into it that was issued for the key", id.PKCS12, len(pair.Others))}
	}
	return pair.Chain, pair.Key, nil
}

func (id Identity) parseKey(m *Material) (crypto.Signer, error) {
	passphrase, err := id.passphrase(m)
	if err != nil {
		return nil, err
	}
	key, err := keystore.Key(id.Key, m.Key, passphrase)
	if err != nil {
		return nil, storeError("key", id.Key, err)
	}
	return key, nil
}

// passphrase returns what opens the key, or nil.
func (id Identity) passphrase(m *Material) ([]byte, error) {
	if id.Passphrase == "" {
		return nil, nil
	}
	line := firstLine(m.Passphrase)
	if line == nil {
		return nil, &LoadError{Reason: ReasonEmpty, Path: id.Passphrase,
			Err: fmt.Errorf("passphrase %q: its first line is empty; write the passphrase there", id.Passphrase)}
	}
	return line, nil
}

// storeError gives an error of package keystore its reason.
func storeError(what, path string, err error) error {
	reason := ReasonMalformed
	if e, ok := errors.AsType[*keystore.Error](err); ok {
		switch e.Problem {
		case keystore.Empty:
			reason = ReasonEmpty
		case keystore.Unsupported:
			reason = ReasonUnsupported
		case keystore.Passphrase:
			reason = ReasonPassphrase
		case keystore.Malformed:
		}
	}
	return &LoadError{Reason: reason, Path: path, Err: fmt.Errorf("%s %q: %w", what, path, err)}
}

// openSigner asks for a key that is no file.
func (id Identity) openSigner(m *Material, leaf *x509.Certificate) (crypto.Signer, error) {
	uri := withoutQuery(id.Key)
	fail := func(err error) (crypto.Signer, error) {
		return nil, &LoadError{Reason: ReasonSigner, Err: fmt.Errorf("key %q: %w", uri, err)}
	}
	if len(m.Key) > 0 {
		return fail(errors.New("it is not kept in a file, and a key in its place cannot be used; hand in the certificate alone"))
	}
	if id.Signer == nil {
		return fail(errors.New("this build has no such store of keys; name a file"))
	}
	key, err := id.Signer(id.Key, leaf)
	switch {
	case err != nil:
		return fail(err)
	case key == nil:
		return fail(errors.New("its store gave no key"))
	}
	return key, nil
}

// clockSkew is how far in the future a certificate may begin to be valid, if there is no
// better one.
const clockSkew = 5 * time.Minute

// early refuses a leaf that is not valid yet in place of one that is: servers may have the
// right time.
func (id Identity) early(leaf *x509.Certificate, inUse *Generation, now time.Time) error {
	if inUse == nil || !now.Before(leaf.NotBefore) || now.Add(clockSkew).Before(leaf.NotBefore) ||
		now.Before(inUse.Leaf.NotBefore) || now.After(inUse.Leaf.NotAfter) {
		return nil
	}
	return &LoadError{Reason: ReasonNotYetValid, Path: id.leafPath(),
		Err: fmt.Errorf("certificate %q: it is not valid before %s; it is taken then, and the one before is in use until then", id.leafPath(), leaf.NotBefore.UTC().Format(time.RFC3339))}
}

func (id Identity) checkLeaf(leaf *x509.Certificate, now time.Time) error {
	fail := func(r Reason, format string, args ...any) error {
		return &LoadError{Reason: r, Path: id.leafPath(), Err: fmt.Errorf("certificate %q: "+format, append([]any{id.leafPath()}, args...)...)}
	}
	if now.After(leaf.NotAfter) {
		return fail(ReasonExpired, "it expired on %s; put a new one in its place", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Add(clockSkew).Before(leaf.NotBefore) {
		return fail(ReasonNotYetValid, "it is not valid before %s; check the clock", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, u := range leaf.ExtKeyUsage {
		if u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny {
			return nil
		}
	}
	return fail(ReasonUsage, "its extended key usage does not allow client authentication; issue it with clientAuth")
}

func (id Identity) makeRoots(g *Generation, m *Material, now time.Time) error {
	if id.SystemCA {
		pool, err := x509.SystemCertPool()
		if err == nil && pool.Equal(x509.NewCertPool()) {
			err = errors.New("there are none; install the package ca-certificates")
		}
		if err != nil {
			return &LoadError{Reason: ReasonEmpty, Err: fmt.Errorf("loading the system's trust anchors: %w", err)}
		}
		g.roots = pool
		return nil
	}
	if m.unread(id.CA) {
		return nil
	}
	fail := func(r Reason, err error) error {
		return &LoadError{Reason: r, Path: id.CA, Err: fmt.Errorf("trust anchors %q: %w", id.CA, err)}
	}
	certs, reason, err := parseCertificates(m.CA)
	if err != nil {
		return fail(reason, err)
	}
	g.roots, g.anchors = x509.NewCertPool(), make(map[[sha256.Size]byte]struct{})
	var last time.Time
	for _, c := range certs {
		g.roots.AddCert(c)
		g.anchors[sha256.Sum256(c.Raw)] = struct{}{}
		if c.NotAfter.After(last) {
			last = c.NotAfter
		}
	}
	if now.After(last) { // some may: bundles keep old ones
		return fail(ReasonExpired, fmt.Errorf("all have expired, the last one on %s; put current ones in their place", last.UTC().Format(time.RFC3339)))
	}
	return nil
}
