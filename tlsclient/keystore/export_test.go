package keystore

import "crypto"

// Instrumented code is slow, and fuzzing need not wait for what a file may ask for.
const (
	cheapRounds = 100
	cheapMemory = 64 << 10
)

// CheapKey is Key with little to spend.
func CheapKey(data, passphrase []byte) (crypto.Signer, error) {
	o := opener{passphrase: passphrase, rounds: cheapRounds, memory: cheapMemory}
	return o.key(data)
}

// CheapPKCS12 is PKCS12 with little to spend.
func CheapPKCS12(data, passphrase []byte) (*Pair, error) {
	o := opener{passphrase: passphrase, rounds: cheapRounds, memory: cheapMemory}
	return o.pkcs12(data)
}
