package tlsclient_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/youmark/pkcs8"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

const passphrase = "correct horse"

// encrypted writes an identity whose key takes a passphrase, which stands in a file.
func encrypted(t *testing.T, ca *tlstest.CA, client *tlstest.Identity) tlsclient.Identity {
	t.Helper()
	f := client.WriteFiles(t, "", ca)
	der, err := pkcs8.MarshalPrivateKey(client.Key, []byte(passphrase), nil)
	if err != nil {
		t.Fatal(err)
	}
	tlstest.WriteFile(t, f.Key, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), 0o640)
	id := identity(f)
	id.Passphrase = filepath.Join(f.Dir, "passphrase")
	tlstest.WriteFile(t, id.Passphrase, []byte(passphrase+"\n"), 0o640)
	return id
}

// store writes an identity as a PKCS #12 store.
func store(t *testing.T, ca *tlstest.CA, client *tlstest.Identity) tlsclient.Identity {
	t.Helper()
	dir := t.TempDir()
	id := tlsclient.Identity{Name: "default", PKCS12: filepath.Join(dir, "client.p12"), Passphrase: filepath.Join(dir, "passphrase"), CA: filepath.Join(dir, "ca.crt")}
	rest := append(slices.Clone(client.Chain), ca.Root) // as openssl pkcs12 -export -chain does
	data, err := pkcs12.Modern.Encode(client.Key, client.Leaf, rest, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	tlstest.WriteFile(t, id.PKCS12, data, 0o640)
	tlstest.WriteFile(t, id.Passphrase, []byte(passphrase+"\n"), 0o640)
	tlstest.WriteFile(t, id.CA, ca.PEM(), 0o644)
	return id
}

// The server trusts the root only, so it needs the whole chain.
func TestKeyStoresServe(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true})
	for name, open := range map[string]func(*testing.T, *tlstest.CA, *tlstest.Identity) tlsclient.Identity{"encrypted key": encrypted, "PKCS #12": store} {
		t.Run(name, func(t *testing.T) {
			f := startServer(t, tlstest.ServerOptions{CA: ca, Script: tlstest.Static(tlstest.OK)})
			client := ca.Client(t, "client")
			g, err := open(t, ca, client).Load(2, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if g.Serial() != client.Serial() || g.Intermediates() != 1 || g.Anchors() != 1 {
				t.Errorf("serial %s, %d intermediates, %d anchors; want %s, 1, 1", g.Serial(), g.Intermediates(), g.Anchors(), client.Serial())
			}
			f.upstream.Use(g)
			f.do(f.request("GET")).expect(t, 200, "ok")
		})
	}
}

func TestPassphraseIsTheFirstLine(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	id := encrypted(t, ca, ca.Client(t, "client"))
	for _, text := range []string{passphrase, passphrase + "\n", passphrase + "\r\n", passphrase + "\nand a comment"} {
		tlstest.WriteFile(t, id.Passphrase, []byte(text), 0o600)
		if _, err := id.Load(1, time.Now()); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBadKeyStores(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	write := func(path, text string) { tlstest.WriteFile(t, path, []byte(text), 0o640) }
	for kind, open := range map[string]func(*testing.T, *tlstest.CA, *tlstest.Identity) tlsclient.Identity{"encrypted key": encrypted, "PKCS #12": store} {
		file := func(id tlsclient.Identity) string { return id.PKCS12 + id.Key }
		line := func(id tlsclient.Identity) string { return id.Passphrase }
		for name, c := range map[string]struct {
			spoil  func(id *tlsclient.Identity)
			reason tlsclient.Reason
			path   func(tlsclient.Identity) string
			text   string
		}{
			"wrong passphrase":         {func(id *tlsclient.Identity) { write(id.Passphrase, "wrong") }, tlsclient.ReasonPassphrase, file, "the passphrase does not open it"},
			"no passphrase":            {func(id *tlsclient.Identity) { id.Passphrase = "" }, tlsclient.ReasonPassphrase, file, "passphrase_file"},
			"empty passphrase":         {func(id *tlsclient.Identity) { write(id.Passphrase, "\n"+passphrase) }, tlsclient.ReasonEmpty, line, "its first line is empty"},
			"missing passphrase":       {func(id *tlsclient.Identity) { os.Remove(id.Passphrase) }, tlsclient.ReasonMissing, line, "put the file there"},
			"passphrase for everyone":  {func(id *tlsclient.Identity) { os.Chmod(id.Passphrase, 0o644) }, tlsclient.ReasonMode, line, "chmod 0640"},
			"a store for everyone":     {func(id *tlsclient.Identity) { os.Chmod(file(*id), 0o644) }, tlsclient.ReasonMode, file, "chmod 0640"},
			"half a store":             {func(id *tlsclient.Identity) { cut(t, file(*id), 100) }, tlsclient.ReasonMalformed, file, "again"},
			"an empty store":           {func(id *tlsclient.Identity) { cut(t, file(*id), 0) }, tlsclient.ReasonEmpty, file, "it"},
			"no trust anchors beside":  {func(id *tlsclient.Identity) { os.Remove(id.CA) }, tlsclient.ReasonMissing, func(id tlsclient.Identity) string { return id.CA }, "trust anchors"},
			"trust anchors left to it": {func(id *tlsclient.Identity) { id.CA = "" }, tlsclient.ReasonMissing, func(tlsclient.Identity) string { return "" }, "no file is named for the trust anchors"},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				id := open(t, ca, client)
				c.spoil(&id)
				_, err := id.Load(1, time.Now())
				failure{c.reason, c.path(id), c.text}.check(t, err)
				if strings.Contains(err.Error(), passphrase) {
					t.Errorf("the error holds the passphrase: %v", err)
				}
			})
		}
	}
}

func TestStoreWithoutTheCertificateOfItsKey(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client, other := ca.Client(t, "client"), ca.Client(t, "client")
	id := store(t, ca, &tlstest.Identity{Leaf: other.Leaf, Key: client.Key})
	_, err := id.Load(1, time.Now())
	failure{tlsclient.ReasonMismatch, id.PKCS12, "none of its certificates (2) belongs to its key"}.check(t, err)
	m, err := id.Read()
	if err != nil {
		t.Fatal(err)
	}
	if leaf := m.Leaf(); leaf == nil || !leaf.Equal(other.Leaf) {
		t.Error("the certificate on disk is not known")
	}
}

// token is a key that never leaves its place.
type token struct {
	key  crypto.Signer
	used atomic.Int64
}

func (k *token) Public() crypto.PublicKey { return k.key.Public() }

func (k *token) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.used.Add(1)
	return k.key.Sign(rand, digest, opts)
}

// tokenURI has a PIN, as one who has not read the manual may write it.
const tokenURI = "pkcs11:token=a;object=b?pin-value=1234"

// inToken writes an identity whose key is in k.
func inToken(t *testing.T, ca *tlstest.CA, client *tlstest.Identity, k *token) tlsclient.Identity {
	t.Helper()
	id := identity(client.WriteFiles(t, "", ca))
	if err := os.Remove(id.Key); err != nil {
		t.Fatal(err)
	}
	id.Key = tokenURI
	id.Signer = func(key string, leaf *x509.Certificate) (crypto.Signer, error) {
		if key != tokenURI || !leaf.Equal(client.Leaf) {
			t.Errorf("asked for %q of serial %x, want %q of %s", key, leaf.SerialNumber, tokenURI, client.Serial())
		}
		return k, nil
	}
	return id
}

func TestKeyInATokenServes(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	for name, kind := range map[string]tlstest.KeyType{"ECDSA": tlstest.ECDSA, "RSA": tlstest.RSA, "Ed25519": tlstest.Ed25519} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				f := startServer(t, tlstest.ServerOptions{CA: ca, Script: tlstest.Static(tlstest.OK), Version: version})
				client := ca.Issue(t, tlstest.LeafOptions{KeyType: kind})
				k := &token{key: client.Key}
				g, err := inToken(t, ca, client, k).Load(2, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				f.upstream.Use(g)
				f.do(f.request("GET")).expect(t, 200, "ok")
				seen := f.server.Requests()
				if got := seen[len(seen)-1].Serial; got != client.Serial() || k.used.Load() != 1 {
					t.Errorf("the server saw %s, and the token signed %d times; want %s and once", got, k.used.Load(), client.Serial())
				}
			})
		}
	}
}

func TestBadTokens(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	give := func(key crypto.Signer, err error) func(string, *x509.Certificate) (crypto.Signer, error) {
		return func(string, *x509.Certificate) (crypto.Signer, error) { return key, err }
	}
	for name, c := range map[string]struct {
		signer func(string, *x509.Certificate) (crypto.Signer, error)
		reason tlsclient.Reason
		text   string
	}{
		"none in this build": {nil, tlsclient.ReasonSigner, "this build has no such store of keys"},
		"it was taken away":  {give(nil, errors.New("no such token")), tlsclient.ReasonSigner, "no such token"},
		"it gives nothing":   {give(nil, nil), tlsclient.ReasonSigner, "its store gave no key"},
		"another's key":      {give(ca.Client(t, "client").Key, nil), tlsclient.ReasonMismatch, "does not belong to the certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			id := inToken(t, ca, client, nil)
			id.Signer = c.signer
			_, err := id.Load(1, time.Now())
			if tlsclient.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "pkcs11:token=a;object=b") {
				t.Errorf("got %v, want %s with %q", err, c.reason, c.text)
			}
			if strings.Contains(err.Error(), "1234") {
				t.Errorf("the error holds the PIN: %v", err)
			}
		})
	}
}

// A key cannot be put in the place of one that is in a token.
func TestKeyHandedInForATokens(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	_, err := inToken(t, ca, client, &token{key: client.Key}).Make(materialOf(client, ca), 1, time.Now())
	if tlsclient.ReasonOf(err) != tlsclient.ReasonSigner {
		t.Errorf("got %v, want that the key has no place", err)
	}
}
