package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// notifier tells of events in directories, as fsnotify does: for the entries of
// those that were added, and when they are moved or removed themselves, which
// ends the watch.
type notifier interface {
	Add(dir string) error
	Remove(dir string) error
	Events() <-chan fsnotify.Event
	Errors() <-chan error
	Close() error
}

// inotify is the notifier of the kernel.
type inotify struct{ *fsnotify.Watcher }

// Events implements notifier.
func (i inotify) Events() <-chan fsnotify.Event { return i.Watcher.Events }

// Errors implements notifier.
func (i inotify) Errors() <-chan error { return i.Watcher.Errors }

func openInotify() (notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return inotify{w}, nil
}

// openReason tells an operator why there is no inotify; see inotify_init(2).
func openReason(err error) string {
	if errors.Is(err, syscall.EMFILE) {
		return "no inotify: " + err.Error() + "; raise fs.inotify.max_user_instances, or LimitNOFILE= of the unit"
	}
	return "no inotify: " + err.Error()
}

// addReason tells an operator why a directory is not watched; see
// inotify_add_watch(2).
func addReason(dir string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("no permission to read directory %q; grant it, or wait for the poll after each change", dir)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Sprintf("directory %q is one more than inotify may watch; raise fs.inotify.max_user_watches", dir)
	}
	return fmt.Sprintf("directory %q cannot be watched: %v", dir, err)
}

// remoteFS names the kind of file system that dir is on if other hosts, or a
// process behind FUSE, can change it without inotify's knowledge. The numbers are
// those of statfs(2).
func remoteFS(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return ""
	}
	switch uint32(s.Type) {
	case 0x6969:
		return "NFS"
	case 0x517b, 0xff534d42, 0xfe534d42:
		return "SMB"
	case 0x65735546:
		return "FUSE"
	case 0x00c36400:
		return "Ceph"
	case 0x5346414f:
		return "AFS"
	case 0x01021997:
		return "9p"
	}
	return ""
}
