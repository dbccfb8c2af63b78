package watch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLinks is how many symbolic links the kernel follows, path_resolution(7).
const maxLinks = 40

// way is how a path leads to a file: the directories in which a name decides
// where it goes on, and those names.
type way struct {
	dirs  []string // without links in them; the last is nearest to the file
	names []string
	end   string // the file or directory itself; "" if the way leads nowhere
}

// follow finds the target's way. That of a directory includes the ways of the
// links in it.
func (t *target) follow() way {
	y := walk(t.path)
	if !t.dir || y.end == "" {
		return y
	}
	list, err := t.entries()
	if err != nil {
		return y
	}
	for _, e := range list {
		if e.Type()&os.ModeSymlink == 0 {
			continue // its directory is all there is to it
		}
		l := walk(filepath.Join(y.end, e.Name()))
		y.dirs = append(y.dirs, l.dirs...)
		y.names = append(y.names, l.names...)
	}
	y.dirs = append(y.dirs, y.end)
	return y
}

// walk follows path name by name, as the kernel does.
func walk(path string) way {
	if !filepath.IsAbs(path) {
		if wd, err := os.Getwd(); err == nil {
			path = wd + "/" + path // not Join: a/../b is not b if a is a link
		}
	}
	var y way
	dir, links := "/", 0
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		y.dirs = append(y.dirs, dir)
		y.names = append(y.names, name)
		full := filepath.Join(dir, name)
		info, err := os.Lstat(full)
		switch {
		case err != nil:
			return y
		case info.IsDir():
			dir = full
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(full)
			if links++; err != nil || links > maxLinks {
				return y
			}
			if filepath.IsAbs(to) {
				dir = "/"
			}
			rest = slices.Concat(strings.Split(to, "/"), rest)
		case len(rest) == 0:
			y.end = full
			return y
		default:
			return y // a file where a directory should be
		}
	}
	y.end = dir
	return y
}
