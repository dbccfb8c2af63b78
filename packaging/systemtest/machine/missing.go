package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The programs that this package runs, and the Debian packages that have them.
var programs = []struct{ name, pkg string }{
	{"debootstrap", "debootstrap"},
	{"systemd-nspawn", "systemd-container"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
}

// Missing returns why no machine can boot here, or nil.
func Missing() error {
	if os.Geteuid() != 0 {
		return errors.New("booting a system in a container needs root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			return fmt.Errorf("%s is not installed; apt-get install %s", p.name, p.pkg)
		}
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(known), "\toverlay\n") {
		return errors.New("the kernel has no overlayfs; modprobe overlay may load it")
	}
	// Root in a container of the common kind may not do this.
	if out, err := exec.Command("unshare", "--mount", "--pid", "--fork", "true").CombinedOutput(); err != nil { //nolint:noctx // it does nothing
		return fmt.Errorf("no namespaces can be made here: %w: %s", err, bytes.TrimSpace(out))
	}
	// Without a hierarchy that systemd can own, PID 1 of the machine stops at once.
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return fmt.Errorf("there are no control groups: %w", err)
	}
	return nil
}
