package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Release is a release of Debian.
type Release struct {
	Name  string // as the cache and reports call it
	Suite string // as the archive calls it
}

// The releases that tests run on: systemd 252 and 257.
var (
	Debian12 = Release{Name: "debian12", Suite: "bookworm"}
	Debian13 = Release{Name: "debian13", Suite: "trixie"}
)

// packages that a root has beside the smallest system there is.
const packages = "systemd,systemd-sysv,dbus,curl,rpm"

// complete is the file in a root that says with which packages it was made; a root
// without it was left half made.
const complete = ".complete"

// Root is the file system from which machines of one release boot. It is read only:
// nothing that a machine writes arrives in it.
type Root struct {
	Release Release
	dir     string
	lock    *os.File
}

// Cache is where roots are kept.
type Cache struct {
	Dir    string
	Mirror string    // of Debian; "": that of this host
	Log    io.Writer // receives what debootstrap says
}

// Open returns the root of a release, and makes it first if it is not there, which
// takes a minute and the network. Two processes do not make it twice: one waits for
// the other.
func (c Cache) Open(ctx context.Context, release Release) (*Root, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(c.Dir, release.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	r := &Root{Release: release, dir: filepath.Join(c.Dir, release.Name), lock: lock}
	if err := r.ensure(ctx, c); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return r, nil
}

// ensure returns with the lock held for use, and the root complete.
func (r *Root) ensure(ctx context.Context, c Cache) error {
	for {
		if err := r.flock(syscall.LOCK_SH); err != nil {
			return err
		}
		if r.complete() {
			return nil
		}
		// A lock for use does not turn into one for making without a gap in which
		// another process may have made the root.
		if err := r.flock(syscall.LOCK_EX); err != nil {
			return err
		}
		if r.complete() {
			continue
		}
		if err := r.make(ctx, c); err != nil {
			return fmt.Errorf("making a root of %s in %s: %w", r.Release.Suite, r.dir, err)
		}
	}
}

func (r *Root) flock(how int) error {
	for {
		err := syscall.Flock(int(r.lock.Fd()), how)
		if err == nil || !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (r *Root) complete() bool {
	with, err := os.ReadFile(filepath.Join(r.dir, complete))
	return err == nil && string(with) == packages
}

func (r *Root) make(ctx context.Context, c Cache) error {
	from := c.Mirror
	if from == "" {
		var err error
		if from, err = mirror(); err != nil {
			return err
		}
	}
	if err := r.clear(); err != nil {
		return err
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+packages, r.Release.Suite, r.dir, from)
	cmd.Stdout = io.MultiWriter(c.Log, &said)
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = waitDelay
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("debootstrap: %w: %s", err, lastLine(said.String())), r.clear())
	}
	archives, err := filepath.Glob(filepath.Join(r.dir, "var/cache/apt/archives/*.deb"))
	if err != nil {
		return err
	}
	for _, name := range archives {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(r.dir, complete), []byte(packages), 0o644)
}

// clear removes the root, and first what debootstrap has mounted in it if it was
// ended in the middle: /proc must not be removed file by file.
func (r *Root) clear() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for _, mount := range slices.Backward(strings.Split(string(mounts), "\n")) {
		words := strings.Fields(mount)
		if len(words) < 2 || !strings.HasPrefix(words[1], r.dir+"/") {
			continue
		}
		if err := syscall.Unmount(words[1], syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", words[1], err)
		}
	}
	return os.RemoveAll(r.dir)
}

// Close lets go of the root; it stays in the cache.
func (r *Root) Close() error { return r.lock.Close() }

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
