package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// repair says what to do about a file or directory that cannot be read; "" if that is
// plain.
func repair(path string, err error) string {
	for _, home := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(path, home) && os.Getenv("INVOCATION_ID") != "" { // systemd.exec(5)
			return fmt.Sprintf("; ProtectHome= of the unit hides %s: put it elsewhere, such as /etc/mtlsproxy", home)
		}
	}
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	name, group := fmt.Sprintf("uid %d", os.Geteuid()), strconv.Itoa(os.Getegid())
	if u, err := user.Current(); err == nil {
		name = "user " + u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	closed, mode := inTheWay(path)
	return fmt.Sprintf("; this daemon runs as %s: let it read %s, with: chgrp %s %s && chmod %s %s", name, closed, group, closed, mode, closed)
}

// inTheWay returns what has to be opened for path to be read: itself, or the first
// directory on the way that cannot be entered.
func inTheWay(path string) (closed, mode string) {
	for dir := path; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrPermission):
			continue // the directory above is closed, or one above that
		case err == nil && info.IsDir():
			return dir, "g+rx"
		}
		return dir, "g+r"
	}
	return path, "g+r"
}
