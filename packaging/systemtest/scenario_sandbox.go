package main

import (
	"fmt"
	"strconv"
	"strings"
)

// worstExposure is the score of systemd-analyze security, times ten, that is not to be
// exceeded.
const worstExposure = 13

func sandbox(t *trial) {
	t.site()
	pid := t.property(service, "MainPID")
	proc := "/proc/" + pid

	status := t.must("cat", proc+"/status")
	for _, want := range []string{
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2", "Umask:\t0077",
	} {
		if !strings.Contains("\n"+status, "\n"+want+"\n") {
			t.errorf("%s/status lacks %q", proc, want)
		}
	}
	if user := t.must("stat", "--format=%U:%G", proc); user != "_mtlsproxy:_mtlsproxy" && user != "root:root" { // not dumpable: root's
		t.errorf("the process belongs to %s", user)
	}
	uid := t.must("id", "--user", "_mtlsproxy")
	t.says(proc+"/status", status, fmt.Sprintf("Uid:\t%s\t%s\t%s\t%s", uid, uid, uid, uid))

	limits := strings.Join(strings.Fields(t.must("cat", proc+"/limits")), " ")
	files := min(65536, t.mostFiles())
	t.says(proc+"/limits", limits, "Max core file size 0 0", fmt.Sprintf("Max open files %d %d", files, files))

	for _, ns := range []string{"mnt", "ipc", "uts"} {
		if own := t.must("readlink", proc+"/ns/"+ns); own == t.must("readlink", "/proc/1/ns/"+ns) {
			t.errorf("the %s namespace is that of the system", ns)
		}
	}
	t.sandboxFiles(proc + "/root")

	r := t.run("systemd-analyze", "security", "--no-pager", fmt.Sprintf("--threshold=%d", worstExposure), service)
	if r.Code != 0 {
		t.errorf("systemd-analyze security: worse than %.1f", worstExposure/10.0)
	}
	for line := range strings.Lines(r.Stdout) {
		if _, score, ok := strings.Cut(line, "exposure level for "+service+": "); ok {
			t.notef("exposure %s", strings.TrimSpace(score))
		}
	}
}

// sandboxFiles looks at the files as the daemon sees them.
func (t *trial) sandboxFiles(root string) {
	for _, dir := range []string{"/", "/usr", "/usr/lib", "/usr/sbin", "/etc", "/etc/mtlsproxy", "/var", "/opt"} {
		r := t.run("touch", root+dir+"/x")
		if r.Code == 0 || !strings.Contains(r.Stderr, "Read-only file system") {
			t.errorf("%s can be written to: %s", dir, r.Stderr)
		}
	}
	// Inside a container, systemd leaves /run as it is if it has to protect /sys; its
	// modes have to do.
	for dir, may := range map[string]bool{stateDir: true, "/tmp": true, "/run": false, "/run/mtlsproxy": false} {
		if r := t.as("_mtlsproxy", "touch", root+dir+"/y"); (r.Code == 0) != may {
			t.errorf("the daemon's user writes to %s: exit code %d: %s", dir, r.Code, r.Stderr)
		}
	}
	t.sh("touch /root/secret /home/secret /tmp/secret")
	for _, file := range []string{"/root/secret", "/home/secret", "/tmp/secret"} {
		if r := t.run("test", "-e", root+file); r.Code == 0 {
			t.errorf("%s can be seen", file)
		}
	}
	if devices := t.sh("find " + root + "/dev -type b"); devices != "" {
		t.errorf("there are block devices: %s", devices)
	}
}

// mostFiles is the hard limit of the service manager, beyond which no unit can go on
// hosts that take from it the right to raise its own.
func (t *trial) mostFiles() int {
	n, err := strconv.Atoi(t.sh("awk '/^Max open files/ {print $5}' /proc/1/limits"))
	if err != nil {
		t.fatalf("the limits of PID 1: %v", err)
	}
	return n
}
