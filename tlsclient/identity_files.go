package tlsclient

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxFile bounds what is read of any file of an identity.
const maxFile = 8 << 20

// ReadFile reads one file of an identity: a regular one of at most 8 MiB, and with secret
// set one that nobody else may read. It never waits for somebody to write. what says what
// it is, for the error, a *LoadError.
func ReadFile(what, path string, secret bool) ([]byte, error) {
	data, _, err := part{what: what, path: path, secret: secret}.read()
	if err != nil {
		return nil, err
	}
	return data, nil
}

// read reads the file. Its mode, owner and size are looked at when it is open, so that
// what is checked is what is read.
func (p part) read() ([]byte, sight, *LoadError) {
	fail := func(r Reason, err error) ([]byte, sight, *LoadError) {
		return nil, sight{}, &LoadError{Reason: r, Path: p.path, Err: err}
	}
	if p.path == "" {
		return fail(ReasonMissing, fmt.Errorf("no file is named for the %s", p.what))
	}
	f, err := open(p.path)
	if err != nil {
		return fail(reasonOfOpen(err), fmt.Errorf("reading %s: %w", p.what, err))
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return fail(ReasonUnreadable, fmt.Errorf("reading %s: %w", p.what, err))
	}
	if !info.Mode().IsRegular() {
		return fail(ReasonUnreadable, fmt.Errorf("%s %q: it is not a regular file", p.what, p.path))
	}
	seen := sight{mode: uint32(info.Mode().Perm())}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		seen.uid, seen.gid = st.Uid, st.Gid
	}
	if p.secret {
		if err := seen.check(p.path); err != nil {
			return fail(ReasonMode, fmt.Errorf("%s %q: %w", p.what, p.path, err))
		}
	}
	tooLarge := fmt.Errorf("reading %s: %w", p.what, &fs.PathError{Op: "read", Path: p.path, Err: errors.New("larger than 8 MiB; put the right file in its place")})
	if info.Size() > maxFile {
		return fail(ReasonTooLarge, tooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return fail(ReasonUnreadable, fmt.Errorf("reading %s: %w", p.what, err))
	case len(data) > maxFile: // it has grown, or has no size, as in /proc
		return fail(ReasonTooLarge, tooLarge)
	}
	return data, seen, nil
}

// check finds out whether others may read or change a file that holds a secret.
func (s sight) check(path string) error {
	if s.mode&0o027 != 0 {
		return fmt.Errorf("its mode %04o lets others read or change it; run: chmod 0640 %s (or 0600)", s.mode, path)
	}
	if s.uid != 0 && int(s.uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to uid %d, neither root nor this daemon (uid %d); run: chown root %s", s.uid, os.Geteuid(), path)
	}
	return nil
}

// open does not wait for somebody to write into what turns out to be a pipe.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, explain(err, path, process())
	}
	return f, nil
}

func reasonOfOpen(err error) Reason {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return ReasonMissing
	}
	return ReasonUnreadable
}
