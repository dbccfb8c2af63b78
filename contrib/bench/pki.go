package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// pkiFiles names the PEM files of a throw-away PKI.
type pkiFiles struct {
	CA         string
	ServerCert string
	ServerKey  string
	ClientCert string
	ClientKey  string
	ClientPair string // certificate and key in one file, as HAProxy wants them
}

// authority signs the leaves of one run; its key never leaves memory.
type authority struct {
	cert *x509.Certificate
	der  []byte
	key  *ecdsa.PrivateKey
}

// makePKI writes a P-256 CA, a server and a client certificate, valid for a day, to dir.
func makePKI(dir string, now time.Time) (pkiFiles, error) {
	ca, err := newAuthority(now)
	if err != nil {
		return pkiFiles{}, err
	}
	serverCert, serverKey, err := ca.issue(2, "localhost", x509.ExtKeyUsageServerAuth)
	if err != nil {
		return pkiFiles{}, err
	}
	clientCert, clientKey, err := ca.issue(3, "bench client", x509.ExtKeyUsageClientAuth)
	if err != nil {
		return pkiFiles{}, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	files := pkiFiles{
		CA:         in("ca.pem"),
		ServerCert: in("server.pem"),
		ServerKey:  in("server-key.pem"),
		ClientCert: in("client.pem"),
		ClientKey:  in("client-key.pem"),
		ClientPair: in("client-pair.pem"),
	}
	return files, writeFiles(map[string][]byte{
		files.CA:         pemBlock("CERTIFICATE", ca.der),
		files.ServerCert: serverCert,
		files.ServerKey:  serverKey,
		files.ClientCert: clientCert,
		files.ClientKey:  clientKey,
		files.ClientPair: slices.Concat(clientCert, clientKey),
	})
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating CA key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "bench CA"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing CA certificate: %w", err)
	}
	return &authority{cert: cert, der: der, key: key}, nil
}

// issue returns a leaf certificate and its key as PEM.
func (ca *authority) issue(serial int64, name string, usage x509.ExtKeyUsage) (cert, key []byte, err error) {
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating key of %q: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    ca.cert.NotBefore,
		NotAfter:     ca.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
	}
	if usage == x509.ExtKeyUsageServerAuth {
		template.DNSNames = []string{"localhost"}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, leafKey.Public(), ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing certificate of %q: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding key of %q: %w", name, err)
	}
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", keyDER), nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func writeFiles(files map[string][]byte) error {
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return fmt.Errorf("writing PKI: %w", err)
		}
	}
	return nil
}
