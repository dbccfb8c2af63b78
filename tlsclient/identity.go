package tlsclient

import (
	"crypto"
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// Identity names the files of a client identity: Cert and Key, or PKCS12 in place of
// both.
type Identity struct {
	Name string
	Cert string // PEM: the leaf first, then intermediates
	Key  string // PEM: PKCS #8, PKCS #1 or SEC 1, not readable by others; or a URI for Signer
	CA   string // PEM trust anchors; also beside PKCS12, of which nothing is ever taken for one
	CRL  string // PEM or DER revocation lists; empty: no check

	PKCS12     string // the key, its certificate and intermediates, RFC 7292; not readable by others
	Passphrase string // the first line of this file opens Key or PKCS12; not readable by others; empty: they are not encrypted

	SystemCA bool // the operating system's trust anchors in place of CA

	// Signer opens a Key that is no file but a URI such as "pkcs11:…", RFC 7512. leaf is
	// the certificate that the key must belong to. What it returns signs for as long as
	// the generation lives, from many goroutines at a time, and has to find its own way
	// back to a token that was away: the same URI and certificate make no new
	// generation. nil: such keys are refused.
	Signer func(key string, leaf *x509.Certificate) (crypto.Signer, error)

	// Pause waits between two readings of the files. nil: time.Sleep.
	Pause func(time.Duration)
}

// Files returns the paths of all files that the identity is made of. A Key that is a
// URI is none of them, nor are the operating system's trust anchors.
func (id Identity) Files() []string {
	var paths []string
	for _, p := range id.parts(new(Material)) {
		if p.path != "" && !slices.Contains(paths, p.path) {
			paths = append(paths, p.path)
		}
	}
	return paths
}

// Load reads and checks the files together and returns them as generation
// number. now decides about validity. Every problem found is in the error, each as a
// *LoadError.
func (id Identity) Load(number uint64, now time.Time) (*Generation, error) {
	m, _ := id.Read() // Make repeats its error beside all others
	return id.Make(m, number, now)
}

// part is one file of an identity.
type part struct {
	what   string // as errors call it
	path   string
	secret bool    // others must not read it
	into   *[]byte // of the material
}

// parts lists the files of the identity, with their places in m.
func (id Identity) parts(m *Material) []part {
	all := []part{
		{"certificate", id.Cert, false, &m.Cert},
		{"key", id.Key, true, &m.Key},
		{"PKCS #12 store", id.PKCS12, true, &m.PKCS12},
		{"passphrase", id.Passphrase, true, &m.Passphrase},
		{"trust anchors", id.CA, false, &m.CA},
		{"revocation lists", id.CRL, false, &m.CRL},
	}
	return slices.DeleteFunc(all, func(p part) bool {
		switch p.into {
		case &m.Cert:
			return id.PKCS12 != ""
		case &m.Key:
			return id.PKCS12 != "" || isURI(id.Key)
		case &m.CA:
			return id.SystemCA
		}
		return p.path == ""
	})
}

// isURI reports whether a key is named by a URI, RFC 3986 3.1, and not by a path. A
// file with such a name can be written "./name".
func isURI(key string) bool {
	scheme, _, found := strings.Cut(key, ":")
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return found && len(scheme) > 1 && strings.ContainsRune(letters, rune(scheme[0])) && strings.Trim(scheme, letters+"0123456789+-.") == ""
}

// withoutQuery is the part of a URI that may be shown: pin-value, RFC 7512 2.4, stands
// behind it.
func withoutQuery(uri string) string {
	shown, _, _ := strings.Cut(uri, "?")
	return shown
}
