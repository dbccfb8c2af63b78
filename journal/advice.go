package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strings"
	"syscall"
)

// advise adds to an error of the log's directory what to do about it.
func (o *Options) advise(err error) error {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; %s", err, o.whenReadOnly())
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; %s", err, o.whenDenied())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; make room on the file system of %s, or let [log] directory name another: it is tried again by itself", err, o.Directory)
	}
	return err
}

func (o *Options) whenReadOnly() string {
	if !o.Systemd {
		return fmt.Sprintf("the file system of %s is mounted read-only: mount it writable, or let [log] directory name another", o.Directory)
	}
	option := "ReadWritePaths=" + o.Directory
	if below, ok := strings.CutPrefix(o.Directory, "/var/log/"); ok {
		option = "LogsDirectory=" + below
	}
	return fmt.Sprintf("ProtectSystem= of the unit makes %s read-only, unless its file system is: add %s to the unit (systemctl edit mtlsproxy.service) and restart it", o.Directory, option)
}

func (o *Options) whenDenied() string {
	if _, err := os.Stat(o.Directory); errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("mtlsproxyd runs as user %s, who may not make that directory: make it, with: install -d -m 0700 -o %s %s", me(), me(), o.Directory)
	}
	return giveTo(o.Directory, "-R ")
}

// giveTo says how this process comes to own what it cannot open.
func giveTo(path, flags string) string {
	return fmt.Sprintf("mtlsproxyd runs as user %s: give it to them, with: chown %s%s: %s", me(), flags, me(), path)
}

// me is the user of this process, as chown(1) takes it.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Geteuid())
}
