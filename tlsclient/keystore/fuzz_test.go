package keystore_test

import (
	"crypto/x509"
	"errors"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/keystore"
)

// typed fails the test unless there is a result or a typed error, and not both.
func typed(t *testing.T, found bool, err error) {
	t.Helper()
	var e *keystore.Error
	if found == (err != nil) || err != nil && !errors.As(err, &e) {
		t.Fatalf("found something: %v, and got %v", found, err)
	}
}

func FuzzKey(f *testing.F) {
	for _, key := range newKeys(f) {
		f.Add(encode("PRIVATE KEY", pkcs8DER(f, key)), []byte(nil))
		for _, der := range sealed(f, key) {
			f.Add(encode("ENCRYPTED PRIVATE KEY", der), []byte(secret))
		}
	}
	f.Fuzz(func(t *testing.T, data, passphrase []byte) {
		key, err := keystore.CheapKey(data, passphrase)
		typed(t, key != nil, err)
	})
}

// The armour of PEM would keep most changes from what is inside.
func FuzzEncryptedKey(f *testing.F) {
	for _, der := range sealed(f, newKey(f)) {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := keystore.CheapKey(encode("ENCRYPTED PRIVATE KEY", der), []byte(secret))
		typed(t, key != nil, err)
	})
}

func FuzzPKCS12(f *testing.F) {
	family := newFamily(f, newKey(f))
	for _, e := range []*pkcs12.Encoder{pkcs12.LegacyRC2, pkcs12.LegacyDES, pkcs12.Modern2023, pkcs12.Modern2026} {
		f.Add(family.store(f, e.WithIterations(1), secret, family.leaf, family.lower.cert), secret)
	}
	f.Add(family.store(f, pkcs12.Passwordless, "", family.leaf, family.lower.cert), "")
	f.Fuzz(func(t *testing.T, data []byte, passphrase string) {
		secret := []byte(passphrase)
		if passphrase == "" {
			secret = nil
		}
		pair, err := keystore.CheapPKCS12(data, secret)
		typed(t, pair != nil, err)
		if pair != nil && len(append(append([]*x509.Certificate{}, pair.Chain...), pair.Others...)) == 0 {
			t.Fatal("a key without any certificate")
		}
	})
}
