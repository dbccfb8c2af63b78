package watch

import (
	"fmt"
	"os"
	"syscall"
)

// maxNoise is how many events that concern nobody a directory may send between
// two polls before it is polled only: /tmp may lie on the way to a file, and
// waking up for everything that is written there would cost more than it brings.
const maxNoise = 20_000

// arms are the directories that inotify watches.
type arms struct {
	source notifier          // nil if there is none
	lost   string            // why
	dirs   map[string]*arm   // by their paths, without links
	failed map[string]string // directories that should be armed, and why they are not
	noise  map[string]int    // events that concerned nobody since the last poll
	remote func(dir string) string
}

// arm is one directory that is watched.
type arm struct {
	id     identity
	sure   bool   // the watch is there for all we know
	remote string // what kind of file system does not tell everything; "" if it does
}

// identity tells a directory from another one at the same path.
type identity struct{ dev, ino uint64 }

func newArms(remote func(string) string) arms {
	return arms{
		dirs:   make(map[string]*arm),
		failed: make(map[string]string),
		noise:  make(map[string]int),
		remote: remote,
	}
}

// set arms the needed directories and no others. It reports whether any of them
// was not armed before.
func (a *arms) set(needed map[string]struct{}) (fresh bool) {
	clear(a.failed)
	if a.source == nil {
		return false
	}
	// Off before on: inotify knows a directory that was moved by its first name,
	// and taking that off later would take the watch away from the new one.
	for dir, armed := range a.dirs {
		_, wanted := needed[dir]
		if id, err := identify(dir); !wanted || err != nil || id != armed.id || a.noise[dir] > maxNoise {
			_ = a.source.Remove(dir) // it is off already if the directory is gone
			delete(a.dirs, dir)
		}
	}
	for dir := range needed {
		if armed := a.dirs[dir]; armed != nil && armed.sure {
			continue
		}
		if why := a.add(dir); why != "" {
			a.failed[dir] = why
			delete(a.dirs, dir)
			continue
		}
		fresh = true
	}
	return fresh
}

func (a *arms) add(dir string) (why string) {
	if a.noise[dir] > maxNoise {
		return fmt.Sprintf("directory %q sends too many events; keep the files in one of their own", dir)
	}
	id, err := identify(dir)
	if err == nil {
		err = a.source.Add(dir)
	}
	if err != nil {
		return addReason(dir, err)
	}
	a.dirs[dir] = &arm{id: id, sure: true, remote: a.remote(dir)}
	return ""
}

// why tells why inotify alone would miss changes on a way, "" if it would not.
func (a *arms) why(dirs []string) string {
	if a.source == nil {
		return a.lost
	}
	for _, d := range dirs {
		if why := a.failed[d]; why != "" {
			return why
		}
	}
	for _, d := range dirs {
		if armed := a.dirs[d]; armed == nil {
			return fmt.Sprintf("directory %q is not watched yet", d)
		} else if armed.remote != "" {
			return fmt.Sprintf("directory %q is on %s, which does not tell of changes made elsewhere", d, armed.remote)
		}
	}
	return ""
}

func (a *arms) has(dir string) bool { return a.dirs[dir] != nil }

// doubt has every directory armed again at the next look, which changes nothing
// where the watch is still there.
func (a *arms) doubt() {
	for _, armed := range a.dirs {
		armed.sure = false
	}
}

// disturbed counts an event that concerned nobody, and reports whether it was the
// one too many that ends the watch.
func (a *arms) disturbed(dir string) bool {
	if !a.has(dir) {
		return false
	}
	a.noise[dir]++
	return a.noise[dir] == maxNoise+1
}

// lose closes the source, if there is one.
func (a *arms) lose(why string) {
	if a.source != nil {
		_ = a.source.Close() // nothing is left to read from it
	}
	a.source, a.lost = nil, why
	clear(a.dirs)
}

func identify(dir string) (identity, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return identity{}, err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return identity{}, syscall.ENOTDIR
	}
	return identity{dev: sys.Dev, ino: sys.Ino}, nil
}
