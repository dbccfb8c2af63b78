package tlstest

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// LeafOptions describe a leaf certificate. The zero value is a client certificate without names.
type LeafOptions struct {
	CommonName string
	DNS        []string
	IPs        []net.IP
	URIs       []string
	// NotBefore and NotAfter default to one hour ago and one day ahead. An expired leaf needs only NotAfter.
	NotBefore, NotAfter time.Time
	// Usage replaces the extended key usage; default client authentication. An empty, non-nil slice means none at all.
	Usage []x509.ExtKeyUsage
	// KeyType of the generated key, unless Key is given.
	KeyType KeyType
	// Key is used instead of a generated one, as when a certificate is renewed for the same key.
	Key crypto.Signer
	// Serial defaults to a random one.
	Serial *big.Int
	// Bare leaves the intermediate out of the chain, a common mistake of deployments.
	Bare bool
}

// An Identity is a certificate with its chain and private key.
type Identity struct {
	Leaf *x509.Certificate
	// Chain holds the certificates between the leaf and the root; the root is never part of it.
	Chain []*x509.Certificate
	Key   crypto.Signer
}

// Issue signs a leaf.
func (ca *CA) Issue(tb testing.TB, opts LeafOptions) *Identity {
	tb.Helper()
	if opts.Key == nil {
		opts.Key = newKey(tb, opts.KeyType)
	}
	if opts.Serial == nil {
		opts.Serial = randomSerial()
	}
	if opts.Usage == nil {
		opts.Usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	notBefore, notAfter := validity(opts.NotBefore, opts.NotAfter)
	template := &x509.Certificate{
		SerialNumber: opts.Serial,
		Subject:      pkix.Name{CommonName: opts.CommonName},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  opts.Usage,
		DNSNames:     opts.DNS,
		IPAddresses:  opts.IPs,
	}
	for _, raw := range opts.URIs {
		uri, err := url.Parse(raw)
		if err != nil {
			tb.Fatalf("URI %q for a certificate: %v", raw, err)
		}
		template.URIs = append(template.URIs, uri)
	}
	parent, key := ca.issuer()
	id := &Identity{Leaf: sign(tb, template, parent, opts.Key.Public(), key), Key: opts.Key}
	if ca.Intermediate != nil && !opts.Bare {
		id.Chain = []*x509.Certificate{ca.Intermediate}
	}
	return id
}

// Server issues a server certificate for names, each an IP address, a URI (it contains "://") or a DNS name.
// Without names it is valid for 127.0.0.1, ::1, localhost and upstream.test.
func (ca *CA) Server(tb testing.TB, names ...string) *Identity {
	tb.Helper()
	if len(names) == 0 {
		names = []string{"127.0.0.1", "::1", "localhost", "upstream.test"}
	}
	opts := LeafOptions{CommonName: names[0], Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, name := range names {
		switch ip := net.ParseIP(name); {
		case ip != nil:
			opts.IPs = append(opts.IPs, ip)
		case strings.Contains(name, "://"):
			opts.URIs = append(opts.URIs, name)
		default:
			opts.DNS = append(opts.DNS, name)
		}
	}
	return ca.Issue(tb, opts)
}

// Client issues a client certificate with the given common name.
func (ca *CA) Client(tb testing.TB, name string) *Identity {
	tb.Helper()
	return ca.Issue(tb, LeafOptions{CommonName: name})
}

// TLS returns the identity in the form that crypto/tls takes.
func (id *Identity) TLS() tls.Certificate {
	cert := tls.Certificate{Certificate: [][]byte{id.Leaf.Raw}, PrivateKey: id.Key, Leaf: id.Leaf}
	for _, link := range id.Chain {
		cert.Certificate = append(cert.Certificate, link.Raw)
	}
	return cert
}

// CertPEM returns the leaf followed by its chain.
func (id *Identity) CertPEM() []byte {
	var chain bytes.Buffer
	chain.Write(encodePEM("CERTIFICATE", id.Leaf.Raw))
	for _, link := range id.Chain {
		chain.Write(encodePEM("CERTIFICATE", link.Raw))
	}
	return chain.Bytes()
}

// Serial returns the leaf's serial number in lower-case hexadecimal, as [Server.Serials] lists it.
func (id *Identity) Serial() string { return id.Leaf.SerialNumber.Text(16) }

// Files are the paths of an identity on disk.
type Files struct{ Dir, Cert, Key, CA, CRL string }

// WriteFiles puts the identity and the trust anchor of ca into dir (default: a new temporary directory) as
// client.crt, client.key (mode 0600) and ca.crt. Files that exist are replaced by renaming, so that a reader sees
// the old or the new one and never half of it. Files.CRL names a path but is written only by [Files.WriteCRL].
func (id *Identity) WriteFiles(tb testing.TB, dir string, ca *CA) Files {
	tb.Helper()
	if dir == "" {
		dir = tb.TempDir()
	}
	files := Files{
		Dir:  dir,
		Cert: filepath.Join(dir, "client.crt"),
		Key:  filepath.Join(dir, "client.key"),
		CA:   filepath.Join(dir, "ca.crt"),
		CRL:  filepath.Join(dir, "ca.crl"),
	}
	WriteFile(tb, files.Cert, id.CertPEM(), 0o644)
	WriteFile(tb, files.Key, id.KeyPEM(), 0o600)
	WriteFile(tb, files.CA, ca.PEM(), 0o644)
	return files
}

// WriteCRL writes a revocation list to f.CRL.
func (f Files) WriteCRL(tb testing.TB, pem []byte) {
	tb.Helper()
	WriteFile(tb, f.CRL, pem, 0o644)
}

// WriteFile replaces path by renaming, with exactly the given mode whatever the umask.
func WriteFile(tb testing.TB, path string, content []byte, mode os.FileMode) {
	tb.Helper()
	temporary := path + ".new"
	err := os.WriteFile(temporary, content, mode)
	if err == nil {
		err = os.Chmod(temporary, mode)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		tb.Fatalf("writing %q: %v", path, err)
	}
}
