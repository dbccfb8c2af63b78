package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/keystore"
)

func seal(t testing.TB, key crypto.Signer, o *pkcs8.Opts) []byte {
	t.Helper()
	der, err := pkcs8.MarshalPrivateKey(key, []byte(secret), o)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pbkdf2With(rounds int, hash crypto.Hash) pkcs8.PBKDF2Opts {
	return pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: rounds, HMACHash: hash}
}

func scryptWith(n, r, p int) pkcs8.ScryptOpts {
	return pkcs8.ScryptOpts{SaltSize: 16, CostParameter: n, BlockSize: r, ParallelizationParameter: p}
}

// sealed is a key in the hands of someone else's implementation.
func sealed(t testing.TB, key crypto.Signer) map[string][]byte {
	return map[string][]byte{
		"AES-128, PBKDF2 with SHA-1":   seal(t, key, &pkcs8.Opts{Cipher: pkcs8.AES128CBC, KDFOpts: pbkdf2With(10, crypto.SHA1)}),
		"AES-192, PBKDF2 with SHA-256": seal(t, key, &pkcs8.Opts{Cipher: pkcs8.AES192CBC, KDFOpts: pbkdf2With(1, crypto.SHA256)}),
		"AES-256, PBKDF2 with SHA-256": seal(t, key, &pkcs8.Opts{Cipher: pkcs8.AES256CBC, KDFOpts: pbkdf2With(20, crypto.SHA256)}),
		"AES-256, scrypt":              seal(t, key, &pkcs8.Opts{Cipher: pkcs8.AES256CBC, KDFOpts: scryptWith(16, 8, 1)}),
		"AES-128, scrypt":              seal(t, key, &pkcs8.Opts{Cipher: pkcs8.AES128CBC, KDFOpts: scryptWith(32, 1, 2)}),
		"with the key's length":        withLength(t, key, 32),
	}
}

type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	scheme struct{ Derivation, Encryption pkix.AlgorithmIdentifier }
	params struct {
		Salt           []byte
		Rounds, Length int
		Hash           pkix.AlgorithmIdentifier
	}
)

func oid(numbers ...int) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: numbers}
}

func with(a pkix.AlgorithmIdentifier, der []byte) pkix.AlgorithmIdentifier {
	a.Parameters = asn1.RawValue{FullBytes: der}
	return a
}

// withLength seals a key as Java does, with a length that PBKDF2 need not be told.
func withLength(t testing.TB, key crypto.Signer, length int) []byte {
	t.Helper()
	salt, iv := bytes.Repeat([]byte{1}, 8), bytes.Repeat([]byte{2}, 16)
	k, err := pbkdf2.Key(sha256.New, secret, salt, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	plain := pkcs8DER(t, key)
	n := 16 - len(plain)%16
	plain = append(plain, bytes.Repeat([]byte{byte(n)}, n)...)
	block, err := aes.NewCipher(k)
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(plain, plain)
	derivation := with(oid(1, 2, 840, 113549, 1, 5, 12), marshal(t, params{salt, 10, length, oid(1, 2, 840, 113549, 2, 9)}))
	encryption := with(oid(2, 16, 840, 1, 101, 3, 4, 1, 42), marshal(t, iv))
	return marshal(t, encryptedKey{with(oid(1, 2, 840, 113549, 1, 5, 13), marshal(t, scheme{derivation, encryption})), plain})
}

func TestEncryptedKeys(t *testing.T) {
	for kind, key := range newKeys(t) {
		for how, der := range sealed(t, key) {
			t.Run(kind+", "+how, func(t *testing.T) {
				data := encode("ENCRYPTED PRIVATE KEY", der)
				got, err := keystore.Key("k", data, []byte(secret))
				same(t, got, err, key)
				_, err = keystore.Key("k", data, []byte(secret+" "))
				refused(t, err, keystore.Passphrase, "does not open it")
				_, err = keystore.Key("k", data, nil)
				refused(t, err, keystore.Passphrase, "passphrase_file")
			})
		}
	}
}

func TestEncryptedKeysOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl to make keys with: ", err)
	}
	key := newKey(t)
	in := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(in, encode("PRIVATE KEY", pkcs8DER(t, key)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, how := range [][]string{
		nil, {"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc", "-iter", "100000"}, {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"},
		{"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"}, {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"}, {"-scrypt"},
	} {
		data, err := exec.CommandContext(t.Context(), openssl, append([]string{"pkcs8", "-topk8", "-in", in, "-passout", "pass:" + secret}, how...)...).Output()
		if err != nil {
			t.Fatalf("openssl pkcs8 %q: %v", how, err)
		}
		got, err := keystore.Key("k", data, []byte(secret))
		same(t, got, err, key)
	}
	for _, how := range [][]string{{"-v2", "des3"}, {"-v2", "camellia-256-cbc"}, {"-v1", "PBE-SHA1-3DES"}} {
		data, err := exec.CommandContext(t.Context(), openssl, append([]string{"pkcs8", "-topk8", "-in", in, "-passout", "pass:" + secret}, how...)...).Output()
		if err != nil {
			t.Fatalf("openssl pkcs8 %q: %v", how, err)
		}
		_, err = keystore.Key("k", data, []byte(secret))
		refused(t, err, keystore.Unsupported, "openssl pkcs8 -topk8")
	}
}

func TestEncryptedKeysRefused(t *testing.T) {
	key := newKey(t)
	var whole encryptedKey
	if _, err := asn1.Unmarshal(withLength(t, key, 32), &whole); err != nil {
		t.Fatal(err)
	}
	pbes2, aes256, sha := oid(1, 2, 840, 113549, 1, 5, 13), with(oid(2, 16, 840, 1, 101, 3, 4, 1, 42), marshal(t, make([]byte, 16))), oid(1, 2, 840, 113549, 2, 9)
	kdf, scrypt := oid(1, 2, 840, 113549, 1, 5, 12), oid(1, 3, 6, 1, 4, 1, 11591, 4, 11)
	build := func(derivation, encryption pkix.AlgorithmIdentifier, data []byte) []byte {
		return marshal(t, encryptedKey{with(pbes2, marshal(t, scheme{derivation, encryption})), data})
	}
	rounds := func(n int) []byte {
		return build(with(kdf, marshal(t, params{nil, n, 32, sha})), aes256, whole.Data)
	}
	memory := func(n, r, p int) []byte {
		return build(with(scrypt, marshal(t, struct {
			Salt    []byte
			N, R, P int
		}{nil, n, r, p})), aes256, whole.Data)
	}
	few := with(kdf, marshal(t, params{nil, 1, 32, sha}))
	for name, c := range map[string]struct {
		der     []byte
		problem keystore.Problem
		want    string
	}{
		"hours of PBKDF2":             {rounds(1 << 40), keystore.Unsupported, "1099511627776 rounds"},
		"just too much of PBKDF2":     {rounds(5_000_001), keystore.Unsupported, "5000001 rounds"},
		"no rounds of PBKDF2":         {rounds(0), keystore.Malformed, "cannot be parsed"},
		"negative rounds of PBKDF2":   {rounds(-1), keystore.Malformed, "cannot be parsed"},
		"terabytes of scrypt":         {memory(1<<33, 1<<20, 1), keystore.Unsupported, "N=8589934592, r=1048576"},
		"just too much of scrypt":     {memory(1<<16, 16, 1), keystore.Unsupported, "64 MiB"},
		"hours of scrypt":             {memory(1<<16, 8, 1<<29), keystore.Unsupported, "p=536870912"},
		"negative scrypt":             {memory(1<<10, -1, 1), keystore.Malformed, "cannot be parsed"},
		"scrypt with N no power of 2": {memory(1000, 8, 1), keystore.Malformed, "cannot be used"},
		"a length that does not fit":  {build(with(kdf, marshal(t, params{nil, 1, 16, sha})), aes256, whole.Data), keystore.Malformed, "cannot be parsed"},
		"an unknown hash":             {build(with(kdf, marshal(t, params{nil, 1, 32, oid(1, 2, 3)})), aes256, whole.Data), keystore.Unsupported, "1.2.3"},
		"an unknown derivation":       {build(oid(1, 2, 3), aes256, whole.Data), keystore.Unsupported, "1.2.3"},
		"an unknown cipher":           {build(few, oid(1, 2, 3), whole.Data), keystore.Unsupported, "1.2.3"},
		"AES in GCM mode":             {build(few, oid(2, 16, 840, 1, 101, 3, 4, 1, 46), whole.Data), keystore.Unsupported, "not AES in CBC mode"},
		"a short vector":              {build(few, with(aes256, marshal(t, make([]byte, 8))), whole.Data), keystore.Malformed, "cannot be parsed"},
		"no vector":                   {build(few, with(aes256, []byte{5, 0}), whole.Data), keystore.Malformed, "cannot be parsed"},
		"no data":                     {build(few, aes256, nil), keystore.Malformed, "cut short"},
		"half a block":                {build(few, aes256, whole.Data[:40]), keystore.Malformed, "cut short"},
		"an old scheme":               {marshal(t, encryptedKey{oid(1, 2, 840, 113549, 1, 5, 3), whole.Data}), keystore.Unsupported, "no longer safe"},
		"no parameters":               {marshal(t, encryptedKey{with(pbes2, []byte{5, 0}), whole.Data}), keystore.Malformed, "cannot be parsed"},
		"garbage":                     {[]byte("garbage"), keystore.Malformed, "cannot be parsed"},
		"something behind it":         {append(withLength(t, key, 32), 5, 0), keystore.Malformed, "cannot be parsed"},
		"damaged":                     {append(withLength(t, key, 32)[:100], withLength(t, key, 32)[101:]...), keystore.Malformed, "cannot be parsed"},
	} {
		t.Run(name, func(t *testing.T) {
			soon(t, func() {
				_, err := keystore.Key("k", encode("ENCRYPTED PRIVATE KEY", c.der), []byte(secret))
				refused(t, err, c.problem, c.want)
			})
		})
	}
}

// The most that is spent is a few seconds.
func TestDearestKeys(t *testing.T) {
	if testing.Short() || slowdown > 1 {
		t.Skip("it takes seconds, and half a minute with the race detector")
	}
	key := newKey(t)
	for name, o := range map[string]*pkcs8.Opts{
		"PBKDF2": {Cipher: pkcs8.AES256CBC, KDFOpts: pbkdf2With(5_000_000, crypto.SHA256)},
		"scrypt": {Cipher: pkcs8.AES256CBC, KDFOpts: scryptWith(1<<16, 8, 1)},
	} {
		der := seal(t, key, o)
		soon(t, func() {
			begin := time.Now()
			got, err := keystore.Key("k", encode("ENCRYPTED PRIVATE KEY", der), []byte(secret))
			same(t, got, err, key)
			t.Log(name, "took", time.Since(begin).Round(time.Millisecond))
		})
	}
}
