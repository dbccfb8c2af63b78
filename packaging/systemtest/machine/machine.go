package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a machine may take.
const (
	bootTime = 60 * time.Second
	offTime  = 20 * time.Second
)

// Machine is a booted system. It is safe for concurrent use.
type Machine struct {
	Name   string
	Files  *os.Root // its files, as it sees them
	leader int      // its PID 1, as this host counts
	groups cgroups
	nspawn *exec.Cmd
	exited chan struct{} // closed when nspawn has ended
	ended  error         // of nspawn; read after exited
	said   *tail         // of its console
}

// Options say how to boot.
type Options struct {
	Name string            // host name and name of the machine
	Bind map[string]string // path inside: file or directory of this host, read only
}

// Boot starts a machine, and returns when all its units have started. It has a
// network of its own, with the loopback interface and nothing else.
func Boot(ctx context.Context, root *Root, o Options) (*Machine, error) {
	args := []string{
		"--directory=" + root.dir, "--volatile=overlay", "--boot", "--machine=" + o.Name,
		"--register=no", "--keep-unit", "--private-network", "--link-journal=no",
		"--resolv-conf=off", "--timezone=off", "--console=pipe",
	}
	for inside, outside := range o.Bind {
		args = append(args, "--bind-ro="+outside+":"+inside)
	}
	// From systemd 256 on, PID 1 wants to be asked for control groups of version 1,
	// which hosts of the mixed kind give it.
	args = append(args, "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
	// What it sets belongs to the host; two machines at a time get in each other's way.
	args = append(args, "systemd.mask=systemd-sysctl.service")
	groups, err := makeCgroups(o.Name)
	if err != nil {
		return nil, err
	}
	m := &Machine{Name: o.Name, groups: groups, exited: make(chan struct{}), said: new(tail)}
	m.nspawn = exec.Command("sh", groups.command("systemd-nspawn", args)...) //nolint:noctx // it is powered off, never killed while it can be
	m.nspawn.Stdout, m.nspawn.Stderr = m.said, m.said
	// If this process dies, nspawn powers the machine off.
	m.nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := m.nspawn.Start(); err != nil {
		return nil, errors.Join(err, groups.remove())
	}
	go func() {
		m.ended = m.nspawn.Wait()
		close(m.exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	if err := m.running(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("booting %s: %w; its console: %s", o.Name, err, m.said), m.PowerOff())
	}
	return m, nil
}

// running waits until the machine has booted.
func (m *Machine) running(ctx context.Context) error {
	for m.leader == 0 {
		if err := m.pause(ctx); err != nil {
			return err
		}
		m.leader = leaderOf(m.nspawn.Process.Pid)
	}
	var err error
	if m.Files, err = os.OpenRoot(fmt.Sprintf("/proc/%d/root", m.leader)); err != nil {
		return err
	}
	for {
		// Until PID 1 has its socket, systemctl fails.
		r, err := m.Run(ctx, "systemctl", "is-system-running", "--wait")
		switch state := strings.TrimSpace(r.Stdout); {
		case err != nil:
			return err
		case state == "running":
			return nil
		case state == "degraded":
			failed, err := m.Run(ctx, "systemctl", "--failed", "--plain", "--no-legend")
			return errors.Join(fmt.Errorf("units failed: %s", failed.Stdout), err)
		}
		if err := m.pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits a little between two looks, or returns why there will be no other.
func (m *Machine) pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("it took too long: %w", ctx.Err())
	case <-m.exited:
		return fmt.Errorf("systemd-nspawn has ended: %w", m.ended)
	}
}

// leaderOf returns the child of nspawn that is PID 1 of the machine, or 0 if there is
// none yet: the one that runs in a PID namespace of its own, as number 1 there, and
// has become systemd.
func leaderOf(nspawn int) int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	if err != nil {
		return 0
	}
	for child := range strings.FieldsSeq(string(children)) {
		status, err := os.ReadFile("/proc/" + child + "/status")
		if err != nil || !bytes.Contains(status, []byte("\nNSpid:\t"+child+"\t1\n")) || !bytes.HasPrefix(status, []byte("Name:\tsystemd\n")) {
			continue
		}
		if pid, err := strconv.Atoi(child); err == nil {
			return pid
		}
	}
	return 0
}

// PowerOff shuts the machine down, by force if it does not go, and waits until
// nothing of it is left.
func (m *Machine) PowerOff() error {
	if m.Files != nil {
		_ = m.Files.Close() // only held open
	}
	if m.leader != 0 {
		_ = syscall.Kill(m.leader, poweroffSignal) // it may be off already
	} else {
		_ = m.nspawn.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-m.exited:
		return m.groups.remove()
	case <-time.After(offTime):
	}
	// The kernel ends every process of a PID namespace with its first.
	for _, pid := range []int{m.leader, m.nspawn.Process.Pid} {
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-m.exited
	// What nspawn removes when it can.
	_ = os.Remove("/run/systemd/nspawn/propagate/" + m.Name)
	return errors.Join(fmt.Errorf("%s had to be killed: it was not off after %v", m.Name, offTime), m.groups.remove())
}

// waitDelay is how long the output of a killed command is waited for.
const waitDelay = time.Second

// poweroffSignal is SIGRTMIN+4, which starts poweroff.target (systemd(1)).
const poweroffSignal = syscall.Signal(34 + 4)
