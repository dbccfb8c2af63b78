package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
)

// maxKey bounds the encoding of a private key: one of RSA with 16384 bits takes a bit
// more than half of it. The checks of a larger one could take minutes.
const maxKey = 16 << 10

// Key returns the first private key in PEM data. name is how commands in errors call
// the file that data comes from. passphrase is used if the key is encrypted; nil: there
// is none.
func Key(name string, data, passphrase []byte) (crypto.Signer, error) {
	return newOpener(name, passphrase).key(data)
}

func (o *opener) key(data []byte) (crypto.Signer, error) {
	for rest, found := data, false; ; found = true {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, noKey(data, found)
		}
		switch block.Type {
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			return o.blockKey(block)
		}
	}
}

// noKey says why there is none in data, in which other things may have been found.
func noKey(data []byte, found bool) error {
	if len(bytes.TrimSpace(data)) == 0 || found {
		return &Error{Problem: Empty, text: "it holds no PEM private key"}
	}
	return malformed("it holds no PEM private key that is whole; write it again, beside its place, and move it there")
}

func (o *opener) blockKey(block *pem.Block) (crypto.Signer, error) {
	switch {
	case len(block.Bytes) > maxKey:
		return nil, malformed("its private key takes %d bytes, more than any key of use has", len(block.Bytes))
	case block.Headers["DEK-Info"] != "" || block.Headers["Proc-Type"] == "4,ENCRYPTED":
		// RFC 1421 4.6: one round of MD5 over the passphrase, and no integrity at all.
		return nil, unsupported("it is encrypted in the way of old OpenSSL, which hardly protects it; %s", reencrypt(o.name))
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
		var der []byte
		if der, err = o.decrypt(block.Bytes); err != nil {
			return nil, err
		}
		if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			return nil, wrongPassphrase() // one wrong key in 256 leaves a padding that looks right
		}
	}
	if err != nil {
		return nil, malformed("its PEM private key cannot be parsed") // the cause could quote the key
	}
	return signer(key)
}

func signer(key any) (crypto.Signer, error) {
	if s, ok := key.(crypto.Signer); ok {
		return s, nil
	}
	return nil, unsupported("a key of type %T cannot sign", key)
}

// reencrypt is the command that makes of a PEM key one that is read here.
func reencrypt(name string) string {
	return "convert it, with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in " + name + " -out " + name + ".new"
}
