package tlsclient

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/keystore"
)

// Material is what the files of an identity hold, or what could be put into them. It
// holds secrets: no verb of package fmt shows them. Generations that are made of it
// share no memory with it.
type Material struct {
	Cert, Key, CA, CRL, PKCS12, Passphrase []byte

	sights []sight      // of the files that others must not read
	wrong  []*LoadError // what could not be read
}

// sight is what a file looked like beside its bytes.
type sight struct {
	mode     uint32
	uid, gid uint32
}

// Format implements fmt.Formatter.
func (m *Material) Format(f fmt.State, _ rune) { fmt.Fprint(f, "the material of an identity") }

// Equal reports whether the bytes are the same.
func (m *Material) Equal(other *Material) bool {
	return bytes.Equal(m.Cert, other.Cert) && bytes.Equal(m.Key, other.Key) && bytes.Equal(m.CA, other.CA) &&
		bytes.Equal(m.CRL, other.CRL) && bytes.Equal(m.PKCS12, other.PKCS12) && bytes.Equal(m.Passphrase, other.Passphrase)
}

// agrees reports whether two readings found the same.
func (m *Material) agrees(other *Material) bool {
	same := func(a, b *LoadError) bool { return a.Error() == b.Error() }
	return m.Equal(other) && slices.Equal(m.sights, other.sights) && slices.EqualFunc(m.wrong, other.wrong, same)
}

func (m *Material) err() error {
	errs := make([]error, len(m.wrong))
	for i, e := range m.wrong {
		errs[i] = e
	}
	return errors.Join(errs...)
}

// unread reports whether the file at path could not be read.
func (m *Material) unread(path string) bool {
	return slices.ContainsFunc(m.wrong, func(e *LoadError) bool { return e.Path == path })
}

// Leaf returns the first certificate in Cert that can be parsed, or that of the key in
// PKCS12, whatever else is wrong with them. nil: there is none. To open PKCS12 takes as
// long as its passphrase is meant to take.
func (m *Material) Leaf() *x509.Certificate {
	if len(m.PKCS12) > 0 {
		pair, err := keystore.PKCS12("", m.PKCS12, firstLine(m.Passphrase))
		if err != nil {
			return nil
		}
		return slices.Concat(pair.Chain, pair.Others)[0]
	}
	for rest := m.Cert; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			return c
		}
	}
}

// firstLine returns the passphrase in the contents of its file, nil if there is none.
func firstLine(data []byte) []byte {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil
	}
	return line
}

// pauses are made before the files are read again. Two readings that agree need none
// between them: all files held at the same time what both have found.
func pauses() []time.Duration {
	return []time.Duration{0, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond}
}

// Read reads all files, and then all of them again, until two readings in a row agree
// in bytes, modes and owners, so that what it returns was there at one time. It gives up
// after five, within a fifth of a second. With an error, which names every file that
// cannot be used, it returns what it has read of the others; Make repeats the error.
func (id Identity) Read() (*Material, error) {
	pause := id.Pause
	if pause == nil {
		pause = time.Sleep
	}
	m := id.readOnce()
	for _, d := range pauses() {
		pause(d)
		before := m
		if m = id.readOnce(); m.agrees(before) {
			return m, m.err()
		}
	}
	m.wrong = append(m.wrong, &LoadError{Reason: ReasonChanging,
		Err: fmt.Errorf("the files of identity %q did not hold still while they were read; write each of them beside its place, and move it there", id.Name)})
	return m, m.err()
}

func (id Identity) readOnce() *Material {
	m := new(Material)
	for _, p := range id.parts(m) {
		data, seen, err := p.read()
		if err != nil {
			m.wrong = append(m.wrong, err)
			continue
		}
		*p.into = data
		if p.secret {
			m.sights = append(m.sights, seen)
		}
	}
	return m
}
