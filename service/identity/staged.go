package identity

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// stagedFor is how long staged files are kept: they hold a private key.
const stagedFor = time.Hour

// Parts are files that were handed in. What is empty stays as it is.
type Parts struct {
	Cert, Key, CA, PKCS12 []byte
}

// Clear wipes the parts: they hold a private key.
func (p Parts) Clear() {
	for _, b := range [][]byte{p.Cert, p.Key, p.CA, p.PKCS12} {
		clear(b)
	}
}

// Format implements fmt.Formatter: no verb shows what the files hold.
func (p Parts) Format(f fmt.State, _ rune) { fmt.Fprint(f, "the parts of an identity") }

func (p Parts) clone() Parts {
	return Parts{Cert: bytes.Clone(p.Cert), Key: bytes.Clone(p.Key), CA: bytes.Clone(p.CA), PKCS12: bytes.Clone(p.PKCS12)}
}

// Staged is what was handed in to take the place of files, and found good.
type Staged struct {
	Generation *tlsclient.Generation
	Time       time.Time
	By         string
	parts      Parts
}

// Format implements fmt.Formatter: no verb shows what the files hold.
func (s *Staged) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, "what is staged, with serial ", s.Generation.Serial())
}

// outdated reports whether it has been kept for as long as it may be.
func (s *Staged) outdated(now time.Time) bool { return now.Sub(s.Time) >= stagedFor }

// ErrNothingStaged means that there is nothing to commit or to drop.
var ErrNothingStaged = errors.New("nothing is staged")

// Stage checks p as if it stood in the files, and keeps it in memory in place of what
// was staged before. The parts belong to the identity from then on.
func (i *Identity) Stage(p Parts, by string, now time.Time) (*Staged, error) {
	places, err := i.places(&p)
	if err != nil {
		return nil, err
	}
	defer wipe(places)
	m, err := i.material(p, places)
	if err != nil {
		return nil, err
	}
	g, err := i.files.MakeAfter(i.Generation(), m, 0, now)
	if err != nil {
		return nil, err
	}
	s := &Staged{Generation: g, Time: now, By: by, parts: p}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop()
	i.state.Staged = s
	return s, nil
}

// material is p, and the files for what p does not have.
func (i *Identity) material(p Parts, places []*place) (*tlsclient.Material, error) {
	m := &tlsclient.Material{Cert: p.Cert, Key: p.Key, PKCS12: p.PKCS12, CA: p.CA}
	for _, place := range places {
		if place.pair {
			m.Cert, m.Key = place.data, place.data
		}
	}
	var errs []error
	read := func(into *[]byte, what, path string, secret bool) {
		if len(*into) == 0 && path != "" {
			var err error
			*into, err = tlsclient.ReadFile(what, path, secret)
			errs = append(errs, err)
		}
	}
	read(&m.CA, "trust anchors", i.files.CA, false)
	read(&m.CRL, "revocation lists", i.files.CRL, false)
	read(&m.Passphrase, "passphrase", i.files.Passphrase, true)
	return m, errors.Join(errs...)
}

// fits reports why p is not what the identity is made of, or nil.
func (i *Identity) fits(p *Parts) error {
	store, keyFile := i.files.PKCS12 != "", slices.Contains(i.files.Files(), i.files.Key)
	switch {
	case store && (len(p.PKCS12) == 0 || len(p.Cert)+len(p.Key) > 0):
		return fmt.Errorf("identity %q is a PKCS #12 store, %s: stage one, and no certificate or key", i.files.Name, i.files.PKCS12)
	case !store && keyFile && (len(p.Cert) == 0 || len(p.Key) == 0 || len(p.PKCS12) > 0):
		return fmt.Errorf("identity %q is a certificate, %s, and a key: stage both", i.files.Name, i.files.Cert)
	case !store && !keyFile && (len(p.Cert) == 0 || len(p.Key)+len(p.PKCS12) > 0):
		return fmt.Errorf("the key of identity %q is not kept in a file: stage the certificate alone", i.files.Name)
	case len(p.CA) > 0 && i.files.CA == "":
		return fmt.Errorf("identity %q has no file for trust anchors: write ca into its table, or stage none", i.files.Name)
	}
	return nil
}

// Unstage drops what is staged.
func (i *Identity) Unstage() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.Staged == nil {
		return ErrNothingStaged
	}
	i.drop()
	return nil
}

// drop forgets what is staged, and wipes it. The mutex is held.
func (i *Identity) drop() {
	if s := i.state.Staged; s != nil {
		s.parts.Clear()
	}
	i.state.Staged = nil
}
