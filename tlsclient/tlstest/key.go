package tlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// A KeyType names the kind of private key to generate.
type KeyType int

// The zero KeyType is ECDSA, because it is quick to make and what most identities use.
const (
	ECDSA KeyType = iota // P-256
	RSA                  // 2048 bits
	Ed25519
)

func newKey(tb testing.TB, kind KeyType) crypto.Signer {
	tb.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case ECDSA:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		tb.Fatalf("BUG: unknown key type %d", kind)
	}
	if err != nil {
		tb.Fatalf("generating a key: %v", err)
	}
	return key
}

// KeyPEM returns the private key as PKCS#8 ("PRIVATE KEY"), which holds every key type.
func (id *Identity) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		panic("BUG: encoding a key of our own making: " + err.Error())
	}
	return encodePEM("PRIVATE KEY", der)
}

// LegacyKeyPEM returns the private key in the form that predates PKCS#8: PKCS#1 ("RSA PRIVATE KEY") for RSA and
// SEC 1 ("EC PRIVATE KEY") for ECDSA. An Ed25519 key has no such form and comes as PKCS#8.
func (id *Identity) LegacyKeyPEM() []byte {
	switch key := id.Key.(type) {
	case *rsa.PrivateKey:
		return encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			panic("BUG: encoding a key of our own making: " + err.Error())
		}
		return encodePEM("EC PRIVATE KEY", der)
	default:
		return id.KeyPEM()
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
