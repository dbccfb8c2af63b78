package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// place is a file that is to be replaced, and what it is to hold.
type place struct {
	path string // as the configuration has it
	real string // without symbolic links
	data []byte
	mode fs.FileMode // if there is no file yet
	pair bool        // it holds certificate and key
}

// places returns the files that p is for, each once, in the order in which they are to
// be replaced. A key that is there before its certificate is what readers of one file
// at a time are used to.
func (i *Identity) places(p *Parts) ([]*place, error) {
	if err := errors.Join(i.fits(p), i.apart(p)); err != nil {
		return nil, err
	}
	var all []*place
	for _, f := range []*place{
		{path: i.files.CA, data: p.CA, mode: 0o644}, {path: i.files.PKCS12, data: p.PKCS12, mode: 0o640},
		{path: i.files.Key, data: p.Key, mode: 0o640}, {path: i.files.Cert, data: p.Cert, mode: 0o644},
	} {
		if len(f.data) == 0 {
			continue
		}
		var err error
		if f.real, err = resolve(f.path); err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(o *place) bool { return o.real == f.real })
		if at < 0 {
			all = append(all, f)
			continue
		}
		both := all[at]
		both.pair, both.data = true, inOne(both.data, f.data)
	}
	return all, nil
}

// apart refuses to replace a file that holds something else of the identity as well,
// which would be lost.
func (i *Identity) apart(p *Parts) error {
	pair, anchors, rest := []string{i.files.PKCS12, i.files.Key, i.files.Cert}, []string{i.files.CA}, []string{i.files.CRL, i.files.Passphrase}
	err := distinct(pair, slices.Concat(anchors, rest))
	if len(p.CA) > 0 {
		err = errors.Join(err, distinct(anchors, rest))
	}
	return err
}

// distinct reports a file that is in both lists.
func distinct(some, others []string) error {
	for _, a := range some {
		for _, b := range others {
			one, err := resolve(a)
			other, otherErr := resolve(b)
			if a != "" && b != "" && err == nil && otherErr == nil && one == other {
				return fmt.Errorf("%s and %s are the same file, which cannot be replaced in parts: put a new one in its place yourself", a, b)
			}
		}
	}
	return nil
}

// inOne is a copy of a key and its certificate in one file, which may have been handed
// in like that.
func inOne(key, cert []byte) []byte {
	switch {
	case bytes.Equal(key, cert):
		return bytes.Clone(key)
	case bytes.HasSuffix(key, []byte("\n")):
		return slices.Concat(key, cert)
	}
	return slices.Concat(key, []byte("\n"), cert)
}

// wipe overwrites the copies that were made of a key.
func wipe(places []*place) {
	for _, f := range places {
		if f.pair {
			clear(f.data)
		}
	}
}

// resolve follows the symbolic links to a file, which need not be there yet.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// Commit writes what is staged where the identity lives, and tries the files, which
// the caller then takes. If anything goes wrong, the files are what they were, unless
// the error is ErrNotUndone, and what is staged stays staged; paths are those that it
// was to write. Take, Mend and Commit must not run at the same time; Stage and Unstage
// may, and what was begun goes on.
func (i *Identity) Commit(now time.Time) (found *Found, paths []string, err error) {
	s, parts, err := i.begin(now)
	if err != nil {
		return nil, nil, err
	}
	defer parts.Clear()
	var r replacing
	defer func() {
		if err != nil {
			err = errors.Join(err, r.undo())
		}
	}()
	places, err := i.places(&parts)
	if err != nil {
		return nil, nil, err
	}
	defer wipe(places)
	for _, f := range places {
		paths = append(paths, f.path)
	}
	for _, f := range places {
		if err := r.prepare(f.real, f.data, f.mode); err != nil {
			return nil, paths, err
		}
	}
	if err := r.swap(); err != nil {
		return nil, paths, err
	}
	found = i.look(now)
	switch {
	case found.Err != nil:
		return nil, paths, fmt.Errorf("what was written cannot be used: %w", found.Err)
	case !found.Generation.Same(s.Generation):
		return nil, paths, errors.New("somebody else has changed the files meanwhile; stage it again")
	}
	removeAll(i.leftovers()) // with what was in place before, and what earlier ones have left
	r.finish()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.Staged == s {
		i.drop()
	}
	return found, paths, nil
}

// begin returns what is staged, and parts of its own: those that are staged may be
// wiped at any moment.
func (i *Identity) begin(now time.Time) (*Staged, Parts, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.state.Staged
	if s != nil && s.outdated(now) {
		i.drop()
		return nil, Parts{}, fmt.Errorf("%w: it was dropped after %v", ErrNothingStaged, stagedFor)
	}
	if s == nil {
		return nil, Parts{}, ErrNothingStaged
	}
	return s, s.parts.clone(), nil
}
