package tlsclient

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxFile bounds what is read of any file of an identity.
const maxFile = 8 << 20

// Identity names the files of a client identity.
type Identity struct {
	Name string
	Cert string // PEM: the leaf first, then intermediates
	Key  string // PEM: PKCS#8, PKCS#1 or SEC 1; not readable by others
	CA   string // PEM trust anchors
	CRL  string // PEM or DER revocation lists; empty: no check

	SystemCA bool // the operating system's trust anchors in place of CA
}

// Load reads and checks the files together and returns them as generation
// number. now decides about validity. Every problem found is in the error.
func (id Identity) Load(number uint64, now time.Time) (*Generation, error) {
	g := &Generation{Identity: id.Name, Number: number}
	errs := []error{
		id.loadPair(g, now),
		id.loadRoots(g),
	}
	if id.CRL != "" {
		errs = append(errs, id.loadCRL(g))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

func (id Identity) loadPair(g *Generation, now time.Time) error {
	chain, certErr := readChain(id.Cert)
	key, keyErr := readKey(id.Key)
	if certErr != nil || keyErr != nil {
		return errors.Join(certErr, keyErr)
	}
	leaf := chain[0]
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(leaf.PublicKey) {
		return fmt.Errorf("key %q does not belong to the certificate in %q", id.Key, id.Cert)
	}
	if err := checkLeaf(leaf, now); err != nil {
		return fmt.Errorf("certificate %q: %w", id.Cert, err)
	}
	g.Leaf, g.serial = leaf, fmt.Sprintf("%x", leaf.SerialNumber)
	g.cert = tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		g.cert.Certificate = append(g.cert.Certificate, c.Raw)
	}
	return nil
}

// clockSkew is how far in the future a certificate may begin to be valid.
const clockSkew = 5 * time.Minute

func checkLeaf(leaf *x509.Certificate, now time.Time) error {
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("it expired on %s; put a new one in its place", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Add(clockSkew).Before(leaf.NotBefore) {
		return fmt.Errorf("it is not valid before %s; check the clock", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, u := range leaf.ExtKeyUsage {
		if u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny {
			return nil
		}
	}
	return errors.New("its extended key usage does not allow client authentication; issue it with clientAuth")
}

func readChain(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificate: %w", err)
	}
	chain, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", path, err)
	}
	for i := 1; i < len(chain); i++ {
		if !bytes.Equal(chain[i-1].RawIssuer, chain[i].RawSubject) {
			return nil, fmt.Errorf("certificate %q: number %d is not the issuer of the one before it; put the leaf first, then its intermediates in order", path, i+1)
		}
	}
	return chain, nil
}

func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing PEM block %d: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	return out, nil
}

func readKey(path string) (crypto.Signer, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := checkKeyFile(f); err != nil {
		return nil, fmt.Errorf("key %q: %w", path, err)
	}
	data, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", path, err)
	}
	return key, nil
}

// checkKeyFile looks at the open file, so that what is checked is what is read.
func checkKeyFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if info.Mode().Perm()&0o027 != 0 {
		return fmt.Errorf("its mode %04o lets others read or change it; run: chmod 0640 %s (or 0600)", info.Mode().Perm(), f.Name())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to uid %d, neither root nor this daemon (uid %d); run: chown root %s", st.Uid, os.Geteuid(), f.Name())
	}
	return nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("it holds no PEM private key")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("it is encrypted; this version reads unencrypted keys only")
		default:
			continue
		}
		if err != nil {
			return nil, errors.New("its PEM private key cannot be parsed") // the cause could quote the key
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
}

func (id Identity) loadRoots(g *Generation) error {
	if id.SystemCA {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return fmt.Errorf("loading the system's trust anchors: %w", err)
		}
		g.roots = pool
		return nil
	}
	data, err := readFile(id.CA)
	if err != nil {
		return fmt.Errorf("reading trust anchors: %w", err)
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return fmt.Errorf("trust anchors %q: %w", id.CA, err)
	}
	g.roots, g.anchors = x509.NewCertPool(), len(certs)
	for _, c := range certs {
		g.roots.AddCert(c)
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return readAll(f)
}

// open does not wait for somebody to write into what turns out to be a pipe.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, explain(err, path)
	}
	return f, nil
}

// explain says what to do about a file that cannot be opened.
func explain(err error, path string) error {
	for _, home := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(path, home) && os.Getenv("INVOCATION_ID") != "" { // systemd.exec(5)
			return fmt.Errorf("%w; ProtectHome= of the unit hides %s: put it elsewhere, such as /etc/mtlsproxy/tls", err, home)
		}
	}
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	name, group := fmt.Sprintf("uid %d", os.Geteuid()), strconv.Itoa(os.Getegid())
	if u, err := user.Current(); err == nil {
		name = "user " + u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Errorf("%w; this daemon runs as %s: let it read the file, with: chgrp %s %s && chmod 0640 %s", err, name, group, path, path)
}

func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: errors.New("larger than 8 MiB")}
	}
	return data, err
}
