package tlsclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// reader is who could not open a file.
type reader struct {
	name    string // "user _mtlsproxy"
	group   string
	root    bool
	systemd bool // it has started this very process, so its sandbox may be around it
}

func process() reader {
	r := reader{name: fmt.Sprintf("uid %d", os.Geteuid()), group: groupName(os.Getegid()), root: os.Geteuid() == 0}
	if u, err := user.Current(); err == nil {
		r.name = "user " + u.Username
	}
	// Both are inherited, by shells in a graphical session too; the pid tells, systemd.exec(5).
	pid := os.Getenv("SYSTEMD_EXEC_PID")
	r.systemd = os.Getenv("INVOCATION_ID") != "" && (pid == "" || pid == strconv.Itoa(os.Getpid()))
	return r
}

func groupName(gid int) string {
	id := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// elsewhere is where files of an identity are no trouble.
const elsewhere = "/etc/mtlsproxy/tls"

// explain says what to do about a file that cannot be opened.
func explain(err error, path string, r reader) error {
	o := inTheWay(path)
	if option, dir := r.hides(err, path, o.path); option != "" {
		return fmt.Errorf("%w; %s of the unit hides %s: put it elsewhere, such as %s", err, option, dir, elsewhere)
	}
	switch {
	case reasonOfOpen(err) == ReasonMissing:
		return fmt.Errorf("%w; %s", err, o.whenMissing(path, r))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; this daemon runs as %s: %s", err, r.name, o.whenDenied(path, r))
	}
	return err
}

// hides names the option of the sandbox that keeps one of the paths out of sight, and
// what that hides. What is hidden by a private /tmp is missing and never denied.
func (r reader) hides(err error, paths ...string) (option, dir string) {
	if !r.systemd {
		return "", ""
	}
	missing := reasonOfOpen(err) == ReasonMissing
	for _, p := range paths {
		for _, home := range []string{"/home/", "/root/", "/run/user/"} {
			if strings.HasPrefix(p+"/", home) {
				return "ProtectHome=", home
			}
		}
		for _, tmp := range []string{"/tmp/", "/var/tmp/"} {
			if missing && strings.HasPrefix(p+"/", tmp) {
				return "PrivateTmp=", tmp
			}
		}
	}
	return "", ""
}

// obstacle is what keeps a file from being opened: a directory on the way to it, or the
// file itself. Its path has no symbolic links, but for a last one that leads nowhere.
type obstacle struct {
	path string
	dir  bool        // it is a directory, or should be one
	info fs.FileInfo // nil: it is missing
	file string      // the one that was to be opened, with the links on the way followed
}

// inTheWay goes along path as the kernel does.
func inTheWay(path string) (o obstacle) {
	const maxLinks = 40 // as path_resolution(7)
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	at := obstacle{path: "/", dir: true}
	left := components(path)
	defer func() { o.file = filepath.Join(o.path, filepath.Join(left...)) }()
	for links := 0; len(left) > 0; {
		next := filepath.Join(at.path, left[0])
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return at
		case errors.Is(err, syscall.ENOTDIR):
			return at
		case err != nil:
			left = left[1:]
			return obstacle{path: next, dir: len(left) > 0}
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				left = left[1:]
				return obstacle{path: next, info: info}
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(at.path, target)
			}
			left = slices.Concat(components(target), left[1:])
			at = obstacle{path: "/", dir: true}
		default:
			at = obstacle{path: next, dir: info.IsDir(), info: info}
			left = left[1:]
		}
	}
	return at
}

func components(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(c rune) bool { return c == filepath.Separator })
}

// credentials is where systemd puts what LoadCredential= names, systemd.exec(5).
const credentials = "/run/credentials/"

func (o obstacle) whenMissing(path string, r reader) string {
	switch {
	case strings.HasPrefix(path, credentials):
		return fmt.Sprintf("systemd puts there what the unit names: add LoadCredential=%s:FILE to it, with systemctl edit, and restart it", filepath.Base(path))
	case o.info != nil && !o.dir && o.path != o.file:
		return fmt.Sprintf("%s is no directory; correct the path in the configuration", o.path)
	case o.dir && o.info == nil:
		with := "-m 0750 -g " + r.group + " "
		if r.root {
			with = ""
		}
		link := ""
		if target, err := os.Readlink(path); err == nil {
			link = "it is a link to " + target + ", and "
		}
		return fmt.Sprintf("%sthere is no directory %s: make it, with: install -d %s%s, and put the file there, or correct its path in the configuration", link, o.path, with, filepath.Dir(o.file))
	}
	if target, err := os.Readlink(path); err == nil {
		return fmt.Sprintf("it is a link to %s: put the file there", target)
	}
	return "put the file there, or correct its path in the configuration"
}

// sharedKeys is where distributions keep the keys of all services. Its group is not to be
// changed for one of them.
const sharedKeys = "/etc/ssl/private"

func (o obstacle) whenDenied(path string, r reader) string {
	if !o.dir {
		return o.letIn(r, path, "read the file", 0o040, "0640")
	}
	return o.letIn(r, o.path, "enter the directory "+o.path, 0o010, "g+rx")
}

// letIn says how r comes to have the right that the group of the obstacle may have.
func (o obstacle) letIn(r reader, path, what string, right fs.FileMode, mode string) string {
	group := ""
	if o.info != nil && o.info.Mode()&right != 0 {
		if st, ok := o.info.Sys().(*syscall.Stat_t); ok && st.Gid != 0 {
			group = groupName(int(st.Gid))
		}
	}
	shared := o.path == sharedKeys
	if shared && group == "" {
		group = "ssl-cert"
	}
	if group == "" || group == r.group {
		return fmt.Sprintf("let it %s, with: chgrp %s %s && chmod %s %s", what, r.group, path, mode, path)
	}
	text := fmt.Sprintf("let it %s as a member of the group %s, with SupplementaryGroups=%s in its unit (systemctl edit mtlsproxy.service)", what, group, group)
	if shared {
		return text + ", or hand the file to it with LoadCredential="
	}
	return fmt.Sprintf("%s, or with: chgrp %s %s && chmod %s %s", text, r.group, path, mode, path)
}
