package tlstest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// CAOptions describe a certificate authority. The zero value is a root that signs leaves itself.
type CAOptions struct {
	// Name is the root's common name; default "tlstest root".
	Name string
	// Intermediate puts an intermediate CA between the root and the leaves; issued chains then contain it.
	Intermediate bool
	// KeyType of the root and the intermediate.
	KeyType KeyType
	// NotBefore and NotAfter bound the root and the intermediate; default one hour ago to one day ahead.
	NotBefore, NotAfter time.Time
}

// A CA issues identities and revocation lists. It is safe for concurrent use.
type CA struct {
	// Root is the trust anchor.
	Root *x509.Certificate
	// Intermediate is nil unless the options asked for one.
	Intermediate *x509.Certificate

	rootKey, intermediateKey crypto.Signer
}

// NewCA makes a certificate authority with fresh keys, so that two of them never trust each other.
func NewCA(tb testing.TB, opts CAOptions) *CA {
	tb.Helper()
	if opts.Name == "" {
		opts.Name = "tlstest root"
	}
	ca := &CA{rootKey: newKey(tb, opts.KeyType)}
	root := authorityTemplate(opts.Name, opts)
	ca.Root = sign(tb, root, root, ca.rootKey.Public(), ca.rootKey)
	if opts.Intermediate {
		ca.intermediateKey = newKey(tb, opts.KeyType)
		template := authorityTemplate(opts.Name+" intermediate", opts)
		template.MaxPathLenZero = true
		ca.Intermediate = sign(tb, template, ca.Root, ca.intermediateKey.Public(), ca.rootKey)
	}
	return ca
}

func authorityTemplate(name string, opts CAOptions) *x509.Certificate {
	notBefore, notAfter := validity(opts.NotBefore, opts.NotAfter)
	return &x509.Certificate{
		SerialNumber:          randomSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// PEM returns the root certificate, the file a client trusts.
func (ca *CA) PEM() []byte { return encodePEM("CERTIFICATE", ca.Root.Raw) }

// Pool returns a fresh pool holding the root alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root)
	return pool
}

// issuer is what signs leaves: the intermediate if there is one.
func (ca *CA) issuer() (*x509.Certificate, crypto.Signer) {
	if ca.Intermediate != nil {
		return ca.Intermediate, ca.intermediateKey
	}
	return ca.Root, ca.rootKey
}

// CRLOptions describe a revocation list.
type CRLOptions struct {
	// Serials are the revoked certificates' serial numbers.
	Serials []*big.Int
	// Number is the list's own number; default 1.
	Number int64
	// ThisUpdate and NextUpdate bound the list; default one hour ago to one day ahead.
	ThisUpdate, NextUpdate time.Time
	// ByRoot signs with the root even where an intermediate issues the leaves, as is needed to revoke the intermediate.
	ByRoot bool
}

// CRL returns a PEM revocation list, signed by whoever signs the leaves.
func (ca *CA) CRL(tb testing.TB, opts CRLOptions) []byte {
	tb.Helper()
	thisUpdate, nextUpdate := validity(opts.ThisUpdate, opts.NextUpdate)
	list := &x509.RevocationList{
		Number:     big.NewInt(max(opts.Number, 1)),
		ThisUpdate: thisUpdate,
		NextUpdate: nextUpdate,
	}
	for _, serial := range opts.Serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: thisUpdate})
	}
	cert, key := ca.issuer()
	if opts.ByRoot {
		cert, key = ca.Root, ca.rootKey
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, cert, key)
	if err != nil {
		tb.Fatalf("signing a revocation list: %v", err)
	}
	return encodePEM("X509 CRL", der)
}

// CABundle joins the roots of several authorities into one file, as during the rotation of a trust anchor.
func CABundle(cas ...*CA) []byte {
	var bundle bytes.Buffer
	for _, ca := range cas {
		bundle.Write(ca.PEM())
	}
	return bundle.Bytes()
}

func sign(tb testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		tb.Fatalf("signing certificate %q: %v", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("parsing certificate %q: %v", template.Subject.CommonName, err)
	}
	return cert
}

// validity fills in the usual period: started long enough ago for any clock, over before anyone could rely on it.
func validity(from, to time.Time) (time.Time, time.Time) {
	if from.IsZero() {
		from = time.Now().Add(-time.Hour)
		if !to.IsZero() && to.Before(from) {
			from = to.Add(-time.Hour)
		}
	}
	if to.IsZero() {
		to = from.Add(25 * time.Hour)
	}
	return from, to
}

func randomSerial() *big.Int {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		panic("BUG: the system's random source failed: " + err.Error())
	}
	return serial.Add(serial, big.NewInt(1)) // zero is not a valid serial
}
