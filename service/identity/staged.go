package identity

import (
	"errors"
	"fmt"
	"os"
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

// Staged is what was handed in to take the place of files, and found good.
type Staged struct {
	Generation *tlsclient.Generation
	Time       time.Time
	By         string
	parts      Parts
}

// ErrNothingStaged means that there is nothing to commit or to drop.
var ErrNothingStaged = errors.New("nothing is staged")

// Stage checks p as if it stood in the files, and keeps it in memory in place of what
// was staged before. The parts belong to the identity from then on.
func (i *Identity) Stage(p Parts, by string, now time.Time) (*Staged, error) {
	m, err := i.material(p)
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
func (i *Identity) material(p Parts) (*tlsclient.Material, error) {
	store := i.files.PKCS12 != ""
	switch {
	case store && len(p.PKCS12) == 0:
		return nil, fmt.Errorf("identity %q is a PKCS #12 store, %s: stage one", i.files.Name, i.files.PKCS12)
	case !store && (len(p.Cert) == 0 || len(p.Key) == 0 || len(p.PKCS12) > 0):
		return nil, fmt.Errorf("identity %q is a certificate, %s, and a key: stage both", i.files.Name, i.files.Cert)
	case len(p.CA) > 0 && i.files.CA == "":
		return nil, fmt.Errorf("identity %q has no file for trust anchors: write ca into its table, or stage none", i.files.Name)
	}
	m := &tlsclient.Material{Cert: p.Cert, Key: p.Key, PKCS12: p.PKCS12, CA: p.CA}
	var errs []error
	read := func(into *[]byte, path string) {
		if len(*into) == 0 && path != "" {
			var err error
			*into, err = os.ReadFile(path)
			errs = append(errs, err)
		}
	}
	read(&m.CA, i.files.CA)
	read(&m.CRL, i.files.CRL)
	read(&m.Passphrase, i.files.Passphrase)
	return m, errors.Join(errs...)
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

// Commit writes what is staged where the identity lives, and tries the files, which
// the caller then takes. If anything goes wrong, the files are what they were, and
// what is staged stays staged. Try and Take must not run at the same time.
func (i *Identity) Commit(now time.Time) (found *Found, written []string, err error) {
	s := i.State().Staged
	if s == nil {
		return nil, nil, ErrNothingStaged
	}
	var r replacing
	defer func() {
		if err != nil {
			err = errors.Join(err, r.undo())
		}
	}()
	// A key that is there before its certificate is what readers of one file at a time
	// are used to.
	for _, f := range []struct {
		path  string
		bytes []byte
		mode  os.FileMode
	}{
		{i.files.CA, s.parts.CA, 0o644}, {i.files.PKCS12, s.parts.PKCS12, 0o640},
		{i.files.Key, s.parts.Key, 0o640}, {i.files.Cert, s.parts.Cert, 0o644},
	} {
		if f.path == "" || len(f.bytes) == 0 {
			continue
		}
		if err := r.prepare(f.path, f.bytes, f.mode); err != nil {
			return nil, nil, err
		}
		written = append(written, f.path)
	}
	if err := r.swap(); err != nil {
		return nil, nil, err
	}
	found = i.Try(now)
	switch {
	case found.Err != nil:
		return nil, nil, fmt.Errorf("what was written cannot be used: %w", found.Err)
	case !found.Generation.Same(s.Generation):
		return nil, nil, errors.New("somebody else has changed the files meanwhile; stage it again")
	}
	r.finish()
	return found, written, i.Unstage()
}
