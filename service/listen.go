package service

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// open listens on one address.
func open(a config.Address, mode fs.FileMode) (net.Listener, error) {
	if a.Network() == "unix" {
		return openUnix(a.Target(), mode, sameGroup)
	}
	l, err := net.Listen(a.Network(), a.Target())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listening on %s: this address is taken (%w); find out by whom with: ss -ltnp", a, syscall.EADDRINUSE)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("listening on %s: %w; ports below 1024 need a privilege, take a higher one", a, fs.ErrPermission)
	}
	return l, err
}

// openUnix makes the socket in a directory nobody else can enter, gives it its
// mode and group, and only then moves it to its place: at no time can it be reached with
// the wrong mode. A socket that nobody serves any more is replaced.
func openUnix(path string, mode fs.FileMode, group int) (net.Listener, error) {
	if err := replaceable(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".mtlsproxy-")
	if err != nil {
		return nil, fmt.Errorf("making socket %q: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // empty, unless something failed before
	private := filepath.Join(dir, "s")
	l, err := listenIn(dir)
	if err != nil {
		return nil, fmt.Errorf("making socket %q: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	info, err := place(private, path, mode, group)
	if err != nil {
		_ = l.Close() // the error below matters more
		return nil, fmt.Errorf("making socket %q: %w", path, err)
	}
	return &unixListener{UnixListener: l, path: path, made: info}, nil
}

// listenIn makes the socket "s" in dir. It names dir by a descriptor, since the
// address of a socket holds only 107 bytes.
func listenIn(dir string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // it was only a name
	return net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/s", d.Fd()), Net: "unix"})
}

// sameGroup leaves a socket the group of the process.
const sameGroup = -1

func place(private, path string, mode fs.FileMode, group int) (fs.FileInfo, error) {
	if group != sameGroup {
		// Only root may give away what is not its own; others do without.
		if err := os.Lchown(private, -1, group); err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	if err := os.Chmod(private, mode); err != nil {
		return nil, err
	}
	info, err := os.Lstat(private)
	if err != nil {
		return nil, err
	}
	return info, os.Rename(private, path)
}

// replaceable reports an error unless path is free or a socket that is dead.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%q exists and is not a socket; remove it or choose another path", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close() // it was only to see who is there
		return fmt.Errorf("another process serves %q", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("looking at the socket that exists already: %w", err)
	}
	return nil
}

// unixListener removes its socket when it is closed, if it is still its own.
type unixListener struct {
	*net.UnixListener
	path string
	made fs.FileInfo
	once sync.Once
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.made) {
			_ = os.Remove(l.path) // a socket left behind is replaced at the next start
		}
	})
	return l.UnixListener.Close()
}

// Addr implements net.Listener: the path clients connect to.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// inPlace reports whether the socket of l is still at its path. Others than unix
// sockets of our own cannot be taken away.
func inPlace(l net.Listener) bool {
	u, ok := l.(*unixListener)
	if !ok {
		return true
	}
	info, err := os.Lstat(u.path)
	return err == nil && os.SameFile(info, u.made)
}

// setMode changes the permissions of the socket to what combine makes of those it has
// and those wanted, unless something else is in its place.
func (l *unixListener) setMode(want fs.FileMode, combine func(now, want fs.FileMode) fs.FileMode) error {
	info, err := os.Lstat(l.path)
	switch {
	case err != nil:
		return err
	case !os.SameFile(info, l.made):
		return fmt.Errorf("%q is not the socket that this daemon made; reload to have it made anew", l.path)
	}
	mode := combine(info.Mode().Perm(), want)
	if mode == info.Mode().Perm() {
		return nil
	}
	// Through a descriptor of the socket itself: the path may lead elsewhere by now.
	f, err := os.OpenFile(l.path, unix.O_PATH|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only a name
	if now, err := f.Stat(); err != nil || !os.SameFile(now, l.made) {
		return errors.Join(fmt.Errorf("%q was replaced just now", l.path), err)
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode)
}
