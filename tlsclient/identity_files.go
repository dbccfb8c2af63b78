package tlsclient

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// maxFile bounds what is read of any file of an identity.
const maxFile = 8 << 20

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
		return nil, explain(err, path)
	}
	return f, nil
}

func reasonOfOpen(err error) Reason {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return ReasonMissing
	}
	return ReasonUnreadable
}

// explain says what to do about a file that cannot be opened.
func explain(err error, path string) error {
	for _, home := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(path, home) && os.Getenv("INVOCATION_ID") != "" { // systemd.exec(5)
			return fmt.Errorf("%w; ProtectHome= of the unit hides %s: put it elsewhere, such as /etc/mtlsproxy/tls", err, home)
		}
	}
	if reasonOfOpen(err) == ReasonMissing {
		if target, linkErr := os.Readlink(path); linkErr == nil {
			return fmt.Errorf("%w; it is a link to %s: put the file there", err, target)
		}
		return fmt.Errorf("%w; put the file there, or correct its path in the configuration", err)
	}
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	name, group := fmt.Sprintf("uid %d", os.Geteuid()), strconv.Itoa(os.Getegid())
	if u, err := user.Current(); err == nil {
		name = "user " + u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Errorf("%w; this daemon runs as %s: let it read the file, with: chgrp %s %s && chmod 0640 %s", err, name, group, path, path)
}
