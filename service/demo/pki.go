package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is how long the certificates are valid: nobody should keep them.
const lifetime = 24 * time.Hour

// serverName is the name in the upstream's certificate.
const serverName = "billing.demo"

// pki is a certificate authority with one server and one client. The client's
// half is in files, as the daemon wants it; the server's stays in memory.
type pki struct {
	ca, cert, key string // files
	roots         *x509.CertPool
	client        *x509.Certificate
	server        tls.Certificate
}

// issuer signs certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// makePKI writes the client's files to dir. The authority's key is forgotten.
func makePKI(dir string, now time.Time) (*pki, error) {
	ca, err := newIssuer(now)
	if err != nil {
		return nil, err
	}
	server, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: serverName},
		DNSNames:    []string{serverName},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, err
	}
	client, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "demo client"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("encoding the client's key: %w", err)
	}
	p := &pki{
		ca:     filepath.Join(dir, "ca.crt"),
		cert:   filepath.Join(dir, "client.crt"),
		key:    filepath.Join(dir, "client.key"),
		roots:  x509.NewCertPool(),
		client: client.Leaf,
		server: server,
	}
	p.roots.AddCert(ca.cert)
	for _, f := range []struct {
		name, kind string
		der        []byte
		mode       fs.FileMode
	}{
		{p.ca, "CERTIFICATE", ca.cert.Raw, 0o644},
		{p.cert, "CERTIFICATE", client.Leaf.Raw, 0o644},
		{p.key, "PRIVATE KEY", key, 0o600},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(f.name, text, f.mode); err != nil {
			return nil, fmt.Errorf("writing the PKI: %w", err)
		}
	}
	return p, nil
}

func newIssuer(now time.Time) (*issuer, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "demo CA"},
		NotBefore:             now.Add(-time.Minute),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	ca := &issuer{cert: template, key: key}
	ca.cert, err = ca.sign(template, key)
	return ca, err
}

// issue makes a key and signs a certificate for it.
func (ca *issuer) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	template.NotBefore, template.NotAfter = ca.cert.NotBefore, ca.cert.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	leaf, err := ca.sign(template, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func (ca *issuer) sign(template *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	var serial [8]byte
	rand.Read(serial[:])
	serial[0] = serial[0]&0x7f | 0x40 // positive, and always of the same length
	template.SerialNumber = new(big.Int).SetBytes(serial[:])
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %q: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %q back: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}
