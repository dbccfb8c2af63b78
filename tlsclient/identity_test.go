package tlsclient_test

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func TestIdentityRefused(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	write := func(path, content string) {
		tlstest.WriteFile(t, path, []byte(content), 0o600)
	}
	issue := func(f tlstest.Files, o tlstest.LeafOptions) {
		id := ca.Issue(t, o)
		write(f.Cert, string(id.CertPEM()))
		write(f.Key, string(id.KeyPEM()))
	}
	for name, c := range map[string]struct {
		spoil func(f tlstest.Files)
		want  string // in the error
	}{
		"no certificate file":    {func(f tlstest.Files) { os.Remove(f.Cert) }, "no such file"},
		"no key file":            {func(f tlstest.Files) { os.Remove(f.Key) }, "no such file"},
		"no CA file":             {func(f tlstest.Files) { os.Remove(f.CA) }, "no such file"},
		"empty certificate":      {func(f tlstest.Files) { write(f.Cert, "") }, "holds no PEM certificate"},
		"garbage in certificate": {func(f tlstest.Files) { write(f.Cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") }, "parsing PEM block 1"},
		"key in place of cert":   {func(f tlstest.Files) { write(f.Cert, read(t, f.Key)) }, "holds no PEM certificate"},
		"half a key":             {func(f tlstest.Files) { write(f.Key, read(t, f.Key)[:80]) }, "holds no PEM private key"},
		"encrypted key": {func(f tlstest.Files) {
			write(f.Key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
		}, "it is encrypted"},
		"another key":            {func(f tlstest.Files) { write(f.Key, string(ca.Client(t, "x").KeyPEM())) }, "does not belong to the certificate"},
		"empty CA":               {func(f tlstest.Files) { write(f.CA, "") }, "holds no PEM certificate"},
		"key readable by others": {func(f tlstest.Files) { os.Chmod(f.Key, 0o644) }, "chmod 0640"},
		"key writable by group":  {func(f tlstest.Files) { os.Chmod(f.Key, 0o660) }, "chmod 0640"},
		"key is a directory":     {func(f tlstest.Files) { os.Remove(f.Key); os.Mkdir(f.Key, 0o700) }, "not a regular file"},
		"key of 10 MB":           {func(f tlstest.Files) { write(f.Key, strings.Repeat("x", 10<<20)) }, "larger than 8 MiB"},
		"expired":                {func(f tlstest.Files) { issue(f, tlstest.LeafOptions{NotAfter: time.Now().Add(-time.Minute)}) }, "it expired on"},
		"not valid yet":          {func(f tlstest.Files) { issue(f, tlstest.LeafOptions{NotBefore: time.Now().Add(time.Hour)}) }, "not valid before"},
		"for servers only": {func(f tlstest.Files) {
			issue(f, tlstest.LeafOptions{Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		}, "does not allow client authentication"},
		"chain out of order": {func(f tlstest.Files) { write(f.Cert, read(t, f.Cert)+string(ca.Client(t, "x").CertPEM())) }, "number 2 is not the issuer"},
		"garbage in the CRL": {func(f tlstest.Files) { write(f.CRL, "AAAA") }, "parsing list 1"},
		"empty CRL":          {func(f tlstest.Files) { write(f.CRL, "-----BEGIN X-----\n-----END X-----\n") }, "holds no revocation list"},
	} {
		t.Run(name, func(t *testing.T) {
			f := ca.Client(t, "client").WriteFiles(t, "", ca)
			f.WriteCRL(t, ca.CRL(t, tlstest.CRLOptions{}))
			c.spoil(f)
			id := identity(f)
			id.CRL = f.CRL
			g, err := id.Load(1, time.Now())
			if err == nil || g != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEverythingWrongWithAnIdentityIsReported(t *testing.T) {
	_, err := tlsclient.Identity{Name: "x", Cert: "/nonexistent/c", Key: "/nonexistent/k", CA: "/nonexistent/a", CRL: "/nonexistent/r"}.Load(1, time.Now())
	for _, path := range []string{"/nonexistent/c", "/nonexistent/k", "/nonexistent/a", "/nonexistent/r"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v does not name %s", err, path)
		}
	}
}

func TestIdentityAccepted(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true})
	for name, c := range map[string]struct {
		options tlstest.LeafOptions
		legacy  bool
	}{
		"ECDSA":                   {tlstest.LeafOptions{}, false},
		"ECDSA, SEC 1":            {tlstest.LeafOptions{}, true},
		"RSA":                     {tlstest.LeafOptions{KeyType: tlstest.RSA}, false},
		"RSA, PKCS#1":             {tlstest.LeafOptions{KeyType: tlstest.RSA}, true},
		"Ed25519":                 {tlstest.LeafOptions{KeyType: tlstest.Ed25519}, false},
		"no extended key usage":   {tlstest.LeafOptions{Usage: []x509.ExtKeyUsage{}}, false},
		"valid from soon on":      {tlstest.LeafOptions{NotBefore: time.Now().Add(2 * time.Minute)}, false},
		"without an intermediate": {tlstest.LeafOptions{Bare: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			id := ca.Issue(t, c.options)
			f := id.WriteFiles(t, "", ca)
			if c.legacy {
				tlstest.WriteFile(t, f.Key, id.LegacyKeyPEM(), 0o640)
			}
			if g := load(t, f, 7); g.Serial() != id.Serial() || g.Number != 7 {
				t.Errorf("generation %d with serial %s, want 7 with %s", g.Number, g.Serial(), id.Serial())
			}
		})
	}
}

func TestSystemRootsOnlyByTheirName(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	f.CA = ""
	if _, err := identity(f).Load(1, time.Now()); err == nil {
		t.Error("no CA was taken for the system's")
	}
}
