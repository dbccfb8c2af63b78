package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/keystore"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate; of an authority that is nil, one that signs itself.
func (a *authority) issue(t testing.TB, name string, isCA bool, public crypto.Signer, until time.Duration) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(until)}
	parent, key := template, public
	if a != nil {
		parent, key = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) below(t testing.TB, name string) *authority {
	t.Helper()
	key := newKey(t)
	return &authority{a.issue(t, name, true, key, time.Hour), key}
}

// family is a root, two intermediates below each other, and a leaf.
type family struct {
	root, upper, lower *authority
	leaf               *x509.Certificate
	key                crypto.Signer
}

func newFamily(t testing.TB, key crypto.Signer) *family {
	t.Helper()
	var nobody *authority
	f := &family{root: nobody.below(t, "root"), key: key}
	f.upper = f.root.below(t, "upper")
	f.lower = f.upper.below(t, "lower")
	f.leaf = f.lower.issue(t, "client", false, key, time.Hour)
	return f
}

func (f *family) store(t testing.TB, how *pkcs12.Encoder, passphrase string, certs ...*x509.Certificate) []byte {
	t.Helper()
	data, err := how.Encode(f.key, certs[0], certs[1:], passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// holds fails the test unless the pair is the family's key, with that chain.
func (f *family) holds(t testing.TB, p *keystore.Pair, err error, chain, others []*x509.Certificate) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	same(t, p.Key, nil, f.key)
	equal := func(a, b *x509.Certificate) bool { return a.Equal(b) }
	if !slices.EqualFunc(p.Chain, chain, equal) {
		t.Errorf("the chain is %v, want %v", names(p.Chain), names(chain))
	}
	if !slices.EqualFunc(p.Others, others, equal) {
		t.Errorf("the others are %v, want %v", names(p.Others), names(others))
	}
}

func names(certs []*x509.Certificate) (out []string) {
	for _, c := range certs {
		out = append(out, c.Subject.CommonName)
	}
	return out
}

func TestStores(t *testing.T) {
	for kind, key := range newKeys(t) {
		f := newFamily(t, key)
		chain := []*x509.Certificate{f.leaf, f.lower.cert, f.upper.cert}
		for how, e := range map[string]*pkcs12.Encoder{
			"RC2": pkcs12.LegacyRC2, "3DES": pkcs12.LegacyDES, "AES": pkcs12.Modern2023, "AES and PBMAC1": pkcs12.Modern2026,
		} {
			t.Run(kind+", "+how, func(t *testing.T) {
				data := f.store(t, e, secret, chain...)
				p, err := keystore.PKCS12("k", data, []byte(secret))
				f.holds(t, p, err, chain, nil)
				_, err = keystore.PKCS12("k", data, []byte(secret+" "))
				refused(t, err, keystore.Passphrase, "does not open it")
				_, err = keystore.PKCS12("k", data, nil)
				refused(t, err, keystore.Passphrase, "passphrase_file")
			})
		}
	}
}

func TestStoreWithoutPassphrase(t *testing.T) {
	f := newFamily(t, newKey(t))
	data := f.store(t, pkcs12.Passwordless, "", f.leaf)
	for _, passphrase := range []string{"", secret} {
		p, err := keystore.PKCS12("k", data, []byte(passphrase))
		f.holds(t, p, err, []*x509.Certificate{f.leaf}, nil)
	}
	// Anyone can make one that is encrypted for nobody, and let opening it take hours.
	_, err := keystore.PKCS12("k", f.store(t, pkcs12.Modern, "", f.leaf), nil)
	refused(t, err, keystore.Passphrase, "passphrase_file")
}

// Whatever the order in the store, the chain begins with the key's certificate, goes up
// and ends below the root.
func TestChainIsPutInOrder(t *testing.T) {
	f := newFamily(t, newKey(t))
	chain := []*x509.Certificate{f.leaf, f.lower.cert, f.upper.cert}
	stranger := newFamily(t, newKey(t)) // its authorities have the same names
	expiring := f.lower.issue(t, "client", false, f.key, time.Minute)
	for name, c := range map[string]struct{ in, chain, others []*x509.Certificate }{
		"leaf first":          {chain, chain, nil},
		"leaf last":           {[]*x509.Certificate{f.upper.cert, f.lower.cert, f.leaf}, chain, nil},
		"with the root":       {[]*x509.Certificate{f.root.cert, f.lower.cert, f.leaf, f.upper.cert}, chain, []*x509.Certificate{f.root.cert}},
		"with another's":      {[]*x509.Certificate{stranger.lower.cert, f.leaf, stranger.upper.cert, f.upper.cert, f.lower.cert}, chain, []*x509.Certificate{stranger.lower.cert, stranger.upper.cert}},
		"with a gap":          {[]*x509.Certificate{f.leaf, f.upper.cert}, []*x509.Certificate{f.leaf}, []*x509.Certificate{f.upper.cert}},
		"leaf only":           {[]*x509.Certificate{f.leaf}, []*x509.Certificate{f.leaf}, nil},
		"an older one beside": {[]*x509.Certificate{expiring, f.lower.cert, f.leaf, f.upper.cert}, chain, []*x509.Certificate{expiring}},
		"twice the same":      {[]*x509.Certificate{f.leaf, f.leaf, f.lower.cert, f.lower.cert}, []*x509.Certificate{f.leaf, f.lower.cert}, nil},
		"another's only":      {[]*x509.Certificate{stranger.leaf}, nil, []*x509.Certificate{stranger.leaf}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := keystore.PKCS12("k", f.store(t, pkcs12.Modern, secret, c.in...), []byte(secret))
			f.holds(t, p, err, c.chain, c.others)
		})
	}
}

func TestStoresOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl to make stores with: ", err)
	}
	f := newFamily(t, newKey(t))
	dir := t.TempDir()
	in, certs := filepath.Join(dir, "key.pem"), filepath.Join(dir, "certs.pem")
	all := slices.Concat(encode("CERTIFICATE", f.leaf.Raw), encode("CERTIFICATE", f.upper.cert.Raw), encode("CERTIFICATE", f.lower.cert.Raw))
	for path, data := range map[string][]byte{in: encode("PRIVATE KEY", pkcs8DER(t, f.key)), certs: all} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range [][]string{nil, {"-iter", "100000"}, {"-keypbe", "NONE", "-certpbe", "NONE"}, {"-keypbe", "AES-256-CBC", "-certpbe", "PBE-SHA1-3DES", "-macalg", "SHA1"}} {
		data, err := exec.CommandContext(t.Context(), openssl, append([]string{"pkcs12", "-export", "-inkey", in, "-in", certs, "-passout", "pass:" + secret}, how...)...).Output()
		if err != nil {
			t.Fatalf("openssl pkcs12 %q: %v", how, err)
		}
		p, err := keystore.PKCS12("k", data, []byte(secret))
		f.holds(t, p, err, []*x509.Certificate{f.leaf, f.lower.cert, f.upper.cert}, nil)
	}
}

func TestStoresRefused(t *testing.T) {
	f := newFamily(t, newKey(t))
	whole := f.store(t, pkcs12.Modern, secret, f.leaf)
	many := make([]*x509.Certificate, 101)
	for i := range many {
		many[i] = f.leaf
	}
	trust, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{f.leaf}, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data    []byte
		problem keystore.Problem
		want    string
	}{
		"nothing":               {nil, keystore.Empty, "it is empty"},
		"garbage":               {[]byte("garbage"), keystore.Malformed, "openssl pkcs12 -export -inkey KEY -in CHAIN -out /etc/client.p12"},
		"half a store":          {whole[:len(whole)/2], keystore.Malformed, "not whole"},
		"PEM":                   {encode("CERTIFICATE", f.leaf.Raw), keystore.Malformed, "not whole"},
		"no key":                {trust, keystore.Malformed, "one private key"},
		"too many certificates": {f.store(t, pkcs12.Modern, secret, many...), keystore.Unsupported, "101 certificates"},
		"damaged":               {damage(whole), keystore.Passphrase, "the file is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := keystore.PKCS12("/etc/client.p12", c.data, []byte(secret))
			refused(t, err, c.problem, c.want)
			if p != nil {
				t.Error("a pair beside an error")
			}
		})
	}
}

func TestPassphraseBeyondPKCS12(t *testing.T) {
	f := newFamily(t, newKey(t))
	_, err := keystore.PKCS12("k", f.store(t, pkcs12.Modern, secret, f.leaf), []byte("\U0001F511"))
	refused(t, err, keystore.Passphrase, "PKCS #12 cannot express")
	data := f.store(t, pkcs12.Modern, "Schlüssel", f.leaf)
	p, err := keystore.PKCS12("k", data, []byte("Schlüssel"))
	f.holds(t, p, err, []*x509.Certificate{f.leaf}, nil)
}

// damage changes a byte that only the integrity check sees.
func damage(store []byte) []byte {
	data := bytes.Clone(store)
	data[len(data)/2] ^= 1
	return data
}

// Wherever a store says how many rounds of key derivation it takes, it can say too many.
func TestDearStores(t *testing.T) {
	f := newFamily(t, newKey(t))
	const mark = 54321 // 0xd431, as nothing else in there
	for how, e := range map[string]*pkcs12.Encoder{"3DES": pkcs12.LegacyDES, "AES": pkcs12.Modern2023, "AES and PBMAC1": pkcs12.Modern2026} {
		data := f.store(t, e.WithIterations(mark), secret, f.leaf)
		small, large := marshal(t, big.NewInt(mark)), marshal(t, big.NewInt(0x7fff31)) // of the same length
		places := bytes.Count(data, small)
		if places < 3 {
			t.Fatalf("%s: %d counts of rounds, want those of the check, the certificates and the key", how, places)
		}
		for i := range places {
			dear := bytes.Clone(data)
			at := 0
			for range i {
				at += bytes.Index(dear[at:], small) + 1
			}
			copy(dear[at+bytes.Index(dear[at:], small):], large)
			_, err := keystore.PKCS12("k", dear, []byte(secret))
			refused(t, err, keystore.Unsupported, "rounds of key derivation")
			_, err = keystore.PKCS12("k", dear, nil)
			refused(t, err, keystore.Unsupported, "rounds of key derivation")
		}
	}
	// Many that are cheap each are dear together.
	type bag struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}
	wrap := func(der []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
	}
	rounds := marshal(t, struct {
		Salt   []byte
		Rounds int
	}{nil, 1_000_000})
	shrouded := bag{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}, wrap(marshal(t, encryptedKey{with(oid(1, 2, 840, 113549, 1, 12, 1, 3), rounds), make([]byte, 8)}))}
	bags := marshal(t, []bag{shrouded, shrouded, shrouded, shrouded, shrouded, shrouded})
	plain := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	safe := marshal(t, []content{{plain, wrap(marshal(t, bags))}})
	_, err := keystore.PKCS12("k", marshal(t, struct {
		Version int
		Content content
	}{3, content{plain, wrap(marshal(t, safe))}}), nil)
	refused(t, err, keystore.Unsupported, "6000000 rounds")
}
