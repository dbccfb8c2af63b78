package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotUndone means that a commit failed, and that not all files are what they were
// before it. The error it is in says which.
var ErrNotUndone = errors.New("not everything could be put back")

// replacing puts new files in the place of others: all of them or none. While it is
// under way, no other daemon replaces files in the same directories.
type replacing struct {
	files []*replacement
	dirs  map[string]*os.File // locked
}

// replacement is one file on its way.
type replacement struct {
	path    string      // without symbolic links
	beside  string      // the new file; once it is swapped, the old one, if there was one
	fresh   fs.FileInfo // of the new file
	existed bool        // there was an old one
	swapped bool
}

// prepare writes the new file beside the one it is to replace, with its mode and
// owner, or with mode if there is none yet. path has no symbolic links.
func (r *replacing) prepare(path string, data []byte, mode fs.FileMode) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		info = nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file, and is not replaced", path)
	}
	if err := r.lock(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	p := &replacement{path: path, beside: f.Name(), existed: info != nil}
	r.files = append(r.files, p)
	err = errors.Join(like(f, info, mode), write(f, data))
	p.fresh, _ = f.Stat() // nil: nothing is like it, so that it is left alone
	return errors.Join(err, f.Close())
}

func write(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// like gives f the mode, the owner and the group of another file. The owner of files
// is root's to give, so that it need not succeed.
func like(f *os.File, info fs.FileInfo, mode fs.FileMode) error {
	if info != nil {
		mode = info.Mode().Perm()
		if st, ok := info.Sys().(*syscall.Stat_t); ok && f.Chown(int(st.Uid), int(st.Gid)) != nil {
			_ = f.Chown(-1, int(st.Gid)) // if that is not ours either, the group is that of the directory
		}
	}
	return f.Chmod(mode)
}

// lock keeps other daemons from replacing files in a directory, and from taking ours
// for what a crash has left. It ends with the process at the latest.
func (r *replacing) lock(dir string) error {
	if r.dirs[dir] != nil {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // it may be written to, but not read, so that nobody can lock it
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		_ = d.Close()
		return fmt.Errorf("another daemon is replacing files in %s; try again", dir)
	} // a file system without locks has none to wait for
	if r.dirs == nil {
		r.dirs = make(map[string]*os.File)
	}
	r.dirs[dir] = d
	return nil
}

// swap puts the new files in place, in the order in which they were prepared.
func (r *replacing) swap() error {
	for _, p := range r.files {
		var err error
		if p.existed {
			err = exchange(p.beside, p.path)
		} else {
			err = os.Rename(p.beside, p.path)
		}
		if err != nil {
			return err
		}
		p.swapped = true
	}
	return nil
}

// undo puts everything back, the last first. What somebody else has put in place
// meanwhile stays.
func (r *replacing) undo() error {
	var errs []error
	for _, p := range slices.Backward(r.files) {
		if err := p.undo(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", ErrNotUndone, err))
		}
	}
	r.close()
	return errors.Join(errs...)
}

func (p *replacement) undo() error {
	if p.swapped {
		if err := p.putBack(); err != nil {
			return err
		}
	}
	if p.swapped && !p.existed {
		return nil
	}
	if err := os.Remove(p.beside); err != nil {
		return fmt.Errorf("removing what was to be put in place: %w", err)
	}
	return nil
}

// putBack brings the old file back, or none if there was none. After an error, the old
// file is where it was, under its other name.
func (p *replacement) putBack() error {
	theirs := fmt.Errorf("%s was left alone: somebody else has changed it meanwhile", p.path)
	if p.existed {
		theirs = fmt.Errorf("%w; what was there before is in %s", theirs, p.beside)
	}
	if !p.ours(p.path) {
		return theirs
	}
	if !p.existed {
		return os.Remove(p.path)
	}
	if err := exchange(p.beside, p.path); err != nil {
		return fmt.Errorf("%w; what was there before is in %s", err, p.beside)
	}
	if !p.ours(p.beside) { // somebody came after the look
		return errors.Join(theirs, exchange(p.beside, p.path))
	}
	return nil
}

// ours reports whether the file at path is the new one, as it was written.
func (p *replacement) ours(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && p.fresh != nil && os.SameFile(info, p.fresh) && info.Size() == p.fresh.Size() && info.ModTime().Equal(p.fresh.ModTime())
}

// finish drops the old files, and has the disk keep the new names.
func (r *replacing) finish() {
	for _, p := range r.files {
		if p.existed {
			_ = os.Remove(p.beside) // at worst, a hidden name of it stays
		}
	}
	for _, d := range r.dirs {
		_ = d.Sync()
	}
	r.close()
}

func (r *replacing) close() {
	for dir, d := range r.dirs {
		_ = d.Close()
		delete(r.dirs, dir)
	}
}
