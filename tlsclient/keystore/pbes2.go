package keystore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the default of RFC 8018 for HMAC, where it is not weak
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"

	"github.com/youmark/pkcs8"
)

// What deriving a key may cost. OpenSSL asks for 2048 rounds of PBKDF2 and 16 MiB with
// scrypt; careful people ask for a million, and 64 MiB.
const (
	maxRounds = 5_000_000
	maxMemory = 64 << 20 // of scrypt
	maxLanes  = 16       // of scrypt: how often that memory is gone through
)

// opener opens what is encrypted.
type opener struct {
	name       string // of the file, in commands
	passphrase []byte // nil: there is none

	rounds int64 // of PBKDF2 and its like
	memory int   // of scrypt, in bytes
}

func newOpener(name string, passphrase []byte) *opener {
	return &opener{name: name, passphrase: passphrase, rounds: maxRounds, memory: maxMemory}
}

// encryptedKey is EncryptedPrivateKeyInfo, RFC 5958 3.
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// pbes2 is PBES2-params, RFC 8018 A.4.
type pbes2 struct {
	Derivation, Encryption pkix.AlgorithmIdentifier
}

// pbkdf2Params is PBKDF2-params, RFC 8018 A.2.
type pbkdf2Params struct {
	Salt   []byte
	Rounds int
	Length int                      `asn1:"optional"`
	Hash   pkix.AlgorithmIdentifier `asn1:"optional"`
}

// scryptParams are of RFC 7914 7.
type scryptParams struct {
	Salt                  []byte
	Cost, Size, Parallels int
	Length                int `asn1:"optional"`
}

// decrypt opens an encrypted PKCS #8 key with AES in CBC mode, as OpenSSL makes them.
func (o *opener) decrypt(der []byte) ([]byte, error) {
	if o.passphrase == nil {
		return nil, noPassphrase()
	}
	var info encryptedKey
	if err := parse(der, &info); err != nil {
		return nil, malformed("its encrypted private key cannot be parsed")
	}
	if !is(info.Algorithm, oidPBES2) {
		return nil, unsupported("it is encrypted in a way that is no longer safe (%s); %s", info.Algorithm.Algorithm, reencrypt(o.name))
	}
	var scheme pbes2
	if err := parse(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, malformed("its encryption has parameters that cannot be parsed")
	}
	length := keyLength(scheme.Encryption)
	if length == 0 {
		return nil, unsupported("it is encrypted with %s, which is not AES in CBC mode; %s", scheme.Encryption.Algorithm, reencrypt(o.name))
	}
	var iv []byte
	if err := parse(scheme.Encryption.Parameters.FullBytes, &iv); err != nil || len(iv) != aes.BlockSize {
		return nil, malformed("its encryption has parameters that cannot be parsed")
	}
	if n := len(info.Data); n == 0 || n%aes.BlockSize != 0 {
		return nil, malformed("its encrypted private key is cut short")
	}
	key, err := o.derive(scheme.Derivation, length)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	return unpad(plain)
}

// unpad takes the padding of RFC 8018 6.1.1 away. Whoever could use what it tells about
// the padding as an oracle has the file, and can try passphrases at home.
func unpad(plain []byte) ([]byte, error) {
	n := int(plain[len(plain)-1])
	if n == 0 || n > aes.BlockSize {
		return nil, wrongPassphrase()
	}
	body, padding := plain[:len(plain)-n], plain[len(plain)-n:]
	if !bytes.Equal(padding, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, wrongPassphrase()
	}
	return body, nil
}

// derive makes the key of length bytes that the passphrase stands for.
func (o *opener) derive(a pkix.AlgorithmIdentifier, length int) ([]byte, error) {
	switch {
	case is(a, oidPBKDF2):
		var p pbkdf2Params
		if err := parse(a.Parameters.FullBytes, &p); err != nil || p.Rounds < 1 || p.Length != 0 && p.Length != length {
			return nil, malformed("its encryption has parameters that cannot be parsed")
		}
		sum := hashOf(p.Hash)
		if sum == nil {
			return nil, unsupported("its key is derived with %s; %s", p.Hash.Algorithm, reencrypt(o.name))
		}
		if int64(p.Rounds) > o.rounds {
			return nil, o.tooCostly(int64(p.Rounds))
		}
		return pbkdf2.Key(sum, string(o.passphrase), p.Salt, p.Rounds, length)
	case is(a, oidScrypt):
		var p scryptParams
		if err := parse(a.Parameters.FullBytes, &p); err != nil || p.Cost < 2 || p.Size < 1 || p.Parallels < 1 || p.Length != 0 && p.Length != length {
			return nil, malformed("its encryption has parameters that cannot be parsed")
		}
		if p.Size > o.memory/128 || p.Cost > o.memory/128/p.Size || p.Parallels > maxLanes {
			return nil, unsupported("to open it takes scrypt with N=%d, r=%d and p=%d, and no more than %d MiB (128*N*r) and p=%d are spent on that",
				p.Cost, p.Size, p.Parallels, o.memory>>20, maxLanes)
		}
		scrypt := pkcs8.ScryptOpts{CostParameter: p.Cost, BlockSize: p.Size, ParallelizationParameter: p.Parallels}
		key, _, err := scrypt.DeriveKey(o.passphrase, p.Salt, length)
		if err != nil { // N is no power of two
			return nil, malformed("its encryption has parameters that cannot be used")
		}
		return key, nil
	}
	return nil, unsupported("its key is derived with %s; %s", a.Algorithm, reencrypt(o.name))
}

func (o *opener) tooCostly(rounds int64) error {
	return unsupported("to open it takes %d rounds of key derivation, and no more than %d are spent on that", rounds, o.rounds)
}

// keyLength returns the length of the key that an encryption takes, or 0 if it is not
// one of those that are read.
func keyLength(a pkix.AlgorithmIdentifier) int {
	switch {
	case is(a, oidAES128):
		return 16
	case is(a, oidAES192):
		return 24
	case is(a, oidAES256):
		return 32
	}
	return 0
}

// hashOf returns the hash of an HMAC, nil if it is not known.
func hashOf(a pkix.AlgorithmIdentifier) func() hash.Hash {
	switch {
	case len(a.Algorithm) == 0 || is(a, oidHMACSHA1): // SHA-1 is the default of RFC 8018
		return sha1.New
	case is(a, oidHMACSHA256):
		return sha256.New
	case is(a, oidHMACSHA384):
		return sha512.New384
	case is(a, oidHMACSHA512):
		return sha512.New
	}
	return nil
}

// The object identifiers, dotted. RFC 8018 C, RFC 7914 7, and those of NIST for AES.
const (
	oidPBES2      = "1.2.840.113549.1.5.13"
	oidPBKDF2     = "1.2.840.113549.1.5.12"
	oidScrypt     = "1.3.6.1.4.1.11591.4.11"
	oidAES128     = "2.16.840.1.101.3.4.1.2"
	oidAES192     = "2.16.840.1.101.3.4.1.22"
	oidAES256     = "2.16.840.1.101.3.4.1.42"
	oidHMACSHA1   = "1.2.840.113549.2.7"
	oidHMACSHA256 = "1.2.840.113549.2.9"
	oidHMACSHA384 = "1.2.840.113549.2.10"
	oidHMACSHA512 = "1.2.840.113549.2.11"
)

func is(a pkix.AlgorithmIdentifier, oid string) bool { return a.Algorithm.String() == oid }

// parse reads DER with nothing behind it.
func parse(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		return asn1.SyntaxError{Msg: "trailing data"}
	}
	return err
}
