package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// cgroups are the control groups of one machine, one in each hierarchy that its PID 1
// uses. Without them, all machines that run at the same time would share those of
// whoever started them, and one would remove what another has just made.
type cgroups []string

// makeCgroups makes them below those of this process.
func makeCgroups(name string) (cgroups, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var c cgroups
	for _, parent := range hierarchies(string(own), "/sys/fs/cgroup") {
		dir := filepath.Join(parent, name)
		// One that a process left that was killed will do as well.
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(fmt.Errorf("making a control group for %s: %w", name, err), c.remove())
		}
		c = append(c, dir)
	}
	return c, nil
}

// hierarchies returns where a process with this /proc/self/cgroup is, in systemd's own
// hierarchy and in the unified one, below the directory where they are mounted. Which
// of the two there are, and where, differs (cgroups(7), systemd's CGROUP_DELEGATION).
func hierarchies(own, mounted string) []string {
	var dirs []string
	for line := range strings.Lines(own) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		var at []string
		switch {
		case fields[1] == "name=systemd":
			at = []string{"systemd"}
		case fields[0] == "0":
			at = []string{"unified", "."}
		}
		for _, sub := range at {
			dir := filepath.Join(mounted, sub, fields[2])
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
				dirs = append(dirs, dir)
				break
			}
		}
	}
	return dirs
}

// command returns the arguments of a shell that enters the groups and becomes a program.
func (c cgroups) command(program string, args []string) []string {
	var enter strings.Builder
	for _, dir := range c {
		fmt.Fprintf(&enter, "echo $$ >'%s/cgroup.procs' && ", dir)
	}
	enter.WriteString(`exec "$0" "$@"`)
	return append([]string{"-c", enter.String(), program}, args...)
}

// remove removes the groups with all below them, once nothing runs in them. The kernel
// takes a moment to see that.
func (c cgroups) remove() error {
	var errs []error
	for _, dir := range c {
		err := removeGroup(dir)
		for range 50 {
			if !errors.Is(err, syscall.EBUSY) {
				break
			}
			time.Sleep(20 * time.Millisecond)
			err = removeGroup(dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeGroup removes a control group and those below it; what else is in their
// directories is the kernel's, and goes with them.
func removeGroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return existing(err)
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := existing(os.Remove(dir)); err != nil {
			return err
		}
	}
	return nil
}

// existing is err unless it says that something is gone already: nspawn and the kernel
// tidy up too.
func existing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
