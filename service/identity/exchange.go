package identity

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two files in one step, renameat2(2). Like a rename, it asks for the
// right to change the directory and for none to the files, which a second name for a
// file of somebody else's would need (fs.protected_hardlinks, proc_sys_fs(5)).
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // NFS, and other file systems that cannot
		return exchangeByLink(a, b)
	}
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
}

// exchangeByLink swaps two files so that b is at no time without one.
func exchangeByLink(a, b string) error {
	old := a + ".old"
	if err := os.Link(b, old); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Remove(old))
	}
	return os.Rename(old, a)
}
