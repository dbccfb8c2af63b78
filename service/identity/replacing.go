package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// replacing puts new files in the place of others: all of them or none.
type replacing struct {
	files []*replacement
}

// replacement is one file on its way.
type replacement struct {
	path    string // without symbolic links
	fresh   string // the new file, beside it
	old     string // another name of the old file; "" if there was none
	swapped bool
}

// prepare writes the new file beside the one it is to replace, with its mode and
// owner, or with mode if there is none yet.
func (r *replacing) prepare(path string, data []byte, mode fs.FileMode) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		real, err = path, nil
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(real), "."+filepath.Base(real)+".new-*")
	if err != nil {
		return err
	}
	p := &replacement{path: real, fresh: f.Name()}
	r.files = append(r.files, p)
	err = errors.Join(like(f, real, mode), write(f, data))
	return errors.Join(err, f.Close())
}

func write(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// like gives f the mode, the owner and the group of the file at path. The owner of
// files is root's to give, so that it need not succeed.
func like(f *os.File, path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil {
		mode = info.Mode().Perm()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && f.Chown(int(st.Uid), int(st.Gid)) != nil {
			_ = f.Chown(-1, int(st.Gid)) // if that is not ours either, the group is that of the directory
		}
	}
	return f.Chmod(mode)
}

// swap renames the new files into place, in the order in which they were prepared.
func (r *replacing) swap() error {
	for _, p := range r.files {
		old := p.fresh + ".old"
		switch err := os.Link(p.path, old); {
		case err == nil:
			p.old = old
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := os.Rename(p.fresh, p.path); err != nil {
			return err
		}
		p.swapped = true
	}
	return nil
}

// undo puts everything back.
func (r *replacing) undo() error {
	var errs []error
	for _, p := range r.files {
		var err error
		switch {
		case p.swapped && p.old != "":
			err = os.Rename(p.old, p.path)
		case p.swapped:
			err = os.Remove(p.path)
		default:
			_ = os.Remove(p.fresh)
			if p.old != "" {
				_ = os.Remove(p.old)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("putting back %s: %w", p.path, err))
		}
	}
	return errors.Join(errs...)
}

// finish drops the old files, and has the disk keep the new names.
func (r *replacing) finish() {
	for _, p := range r.files {
		if p.old != "" {
			_ = os.Remove(p.old) // at worst, a hidden name of it stays
		}
		if d, err := os.Open(filepath.Dir(p.path)); err == nil {
			_ = d.Sync()
			_ = d.Close()
		}
	}
}
