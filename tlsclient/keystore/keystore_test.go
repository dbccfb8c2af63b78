package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/keystore"
)

// secret is the passphrase of all tests. No error may show it.
const secret = "correct horse battery staple"

func newKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	r, rsaErr := rsa.GenerateKey(rand.Reader, 2048)
	e, ecErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, edErr := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(rsaErr, ecErr, edErr); err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"RSA": r, "ECDSA": e, "Ed25519": ed}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pkcs8DER(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// same fails the test unless got is the key want.
func same(t testing.TB, got crypto.Signer, err error, want crypto.Signer) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(want.Public()) {
		t.Error("another key came out than went in")
	}
}

// refused fails the test unless err is of that problem and says want, and nothing of
// what is secret.
func refused(t testing.TB, err error, problem keystore.Problem, want string) {
	t.Helper()
	var e *keystore.Error
	if !errors.As(err, &e) || e.Problem != problem || !strings.Contains(e.Error(), want) {
		t.Fatalf("got %v, want problem %d with %q", err, problem, want)
	}
	if strings.Contains(e.Error(), secret) || strings.Contains(e.Error(), "\n") {
		t.Errorf("the error tells too much: %v", err)
	}
}

// soon fails the test if f takes longer than a daemon can wait.
func soon(t testing.TB, f func()) {
	t.Helper()
	begin := time.Now()
	f()
	if took := time.Since(begin); took > 10*time.Second { // of what would take hours
		t.Errorf("it took %v", took)
	}
}

func TestPlainKeys(t *testing.T) {
	for name, key := range newKeys(t) {
		got, err := keystore.Key("k", encode("PRIVATE KEY", pkcs8DER(t, key)), nil)
		same(t, got, err, key)
		// A passphrase that is not needed does no harm: the key may become encrypted next.
		got, err = keystore.Key("k", encode("PRIVATE KEY", pkcs8DER(t, key)), []byte(secret))
		same(t, got, err, key)
		switch key := key.(type) {
		case *rsa.PrivateKey:
			got, err = keystore.Key("k", encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), nil)
			same(t, got, err, key)
		case *ecdsa.PrivateKey:
			der, marshalErr := x509.MarshalECPrivateKey(key)
			if marshalErr != nil {
				t.Fatal(name, marshalErr)
			}
			parameters := encode("EC PARAMETERS", []byte{6, 1, 1}) // as openssl ecparam -genkey writes before it
			got, err = keystore.Key("k", append(parameters, encode("EC PRIVATE KEY", der)...), nil)
			same(t, got, err, key)
		}
	}
}

func TestKeyAfterCertificates(t *testing.T) {
	key := newKey(t)
	got, err := keystore.Key("k", append(encode("CERTIFICATE", []byte("x")), encode("PRIVATE KEY", pkcs8DER(t, key))...), nil)
	same(t, got, err, key)
}

func TestKeysRefused(t *testing.T) {
	plain := encode("PRIVATE KEY", pkcs8DER(t, newKey(t)))
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}})
	for name, c := range map[string]struct {
		data    []byte
		problem keystore.Problem
		want    string
	}{
		"nothing":                {nil, keystore.Empty, "holds no PEM private key"},
		"white space":            {[]byte(" \n"), keystore.Empty, "holds no PEM private key"},
		"a certificate only":     {encode("CERTIFICATE", []byte("x")), keystore.Empty, "holds no PEM private key"},
		"garbage":                {[]byte("garbage"), keystore.Malformed, "move it there"},
		"half a key":             {plain[:len(plain)/2], keystore.Malformed, "move it there"},
		"garbage in PEM":         {encode("PRIVATE KEY", []byte("garbage")), keystore.Malformed, "cannot be parsed"},
		"garbage in PKCS #1":     {encode("RSA PRIVATE KEY", []byte("garbage")), keystore.Malformed, "cannot be parsed"},
		"garbage in SEC 1":       {encode("EC PRIVATE KEY", []byte("garbage")), keystore.Malformed, "cannot be parsed"},
		"a megabyte":             {encode("RSA PRIVATE KEY", make([]byte, 1<<20)), keystore.Malformed, "1048576 bytes"},
		"a key that cannot sign": {encode("PRIVATE KEY", pkcs8DER(t, exchange)), keystore.Unsupported, "cannot sign"},
		"encrypted by old OpenSSL": {old, keystore.Unsupported,
			"openssl pkcs8 -topk8 -v2 aes-256-cbc -in /etc/client.key -out /etc/client.key.new"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := keystore.Key("/etc/client.key", c.data, []byte(secret))
			refused(t, err, c.problem, c.want)
			if key != nil {
				t.Error("a key beside an error")
			}
		})
	}
}

// What package pem and the parsers make of large garbage takes no time to speak of.
func TestGarbageIsReadQuickly(t *testing.T) {
	for _, unit := range []string{"x", "-", "\n", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN X-----\n-----END X-----\n", "-----BEGIN X-----\na:b\n", "\x30\x80", "\x30\x83\x7f\xff\xff"} {
		data := bytes.Repeat([]byte(unit), 7<<20/len(unit))
		begin := time.Now()
		if _, err := keystore.Key("k", data, []byte(secret)); err == nil {
			t.Errorf("%q was a key", unit)
		}
		if _, err := keystore.PKCS12("k", data, []byte(secret)); err == nil {
			t.Errorf("%q was a store", unit)
		}
		if took := time.Since(begin); took > time.Second*slowdown {
			t.Errorf("7 MiB of %q took %v", unit, took)
		}
	}
}
