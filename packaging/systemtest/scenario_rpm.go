package main

import (
	"strings"
	"time"
)

// updateHelper is what the scripts of the package call where it is there: on
// distributions that live by rpm, which Debian is none of.
const updateHelper = "/usr/lib/systemd/systemd-update-helper"

// standIn does what that program does: units are enabled as the presets say, and
// restarts are noted for the end of the transaction.
const standIn = `#!/bin/sh
verb=$1
shift
case $verb in
install-system-units) systemctl --no-reload preset "$@" ;;
remove-system-units) systemctl --no-reload disable --now "$@" ;;
mark-restart-system-units) for unit; do systemctl set-property "$unit" Markers=+needs-restart; done ;;
*) exit 1 ;;
esac
`

// image is a root that is not booted.
const image = "/mnt/image"

// rpmImage makes images with the package in them, as tools that build systems do.
func rpmImage(t *trial) {
	for _, c := range []struct{ preset, want string }{
		{"enable mtlsproxy*", "enabled"},
		{"disable *", "disabled"},
	} {
		// An image is a system like this one, and has neither /proc nor a service manager.
		t.sh("mount -t tmpfs tmpfs /mnt; cd /mnt; mkdir upper work image; mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work image image")
		t.write(image+"/etc/systemd/system-preset/10-test.preset", c.preset+"\n")
		t.rpm("--root="+image, "--install")
		for _, unit := range units {
			if r := t.run("systemctl", "--root="+image, "is-enabled", unit); strings.TrimSpace(r.Stdout) != c.want {
				t.errorf("with the preset %q, %s is %s%s in the image", c.preset, unit, r.Stdout, r.Stderr)
			}
		}
		inImage := func(name string, args ...string) string {
			return t.must("chroot", append([]string{image, name}, args...)...)
		}
		if got := inImage("stat", "--format=%a %U:%G", tlsDir); got != "2750 root:_mtlsproxy" {
			t.errorf("%s is %s in the image", tlsDir, got)
		}
		inImage("getent", "group", "mtlsproxy", "mtlsproxy-admin")
		inImage("mtlsproxyd", "check")
		t.must("rpm", "--root="+image, "--erase", "mtlsproxy")
		if left := t.sh("find " + image + "/usr " + image + "/etc -name '*mtlsproxy*'"); left != "" {
			t.errorf("left in the image after removal: %s", left)
		}
		t.sh("umount /mnt/image /mnt")
	}
	if found := t.sh("systemctl list-units --all --plain --no-legend 'mtlsproxy*'; find /usr /etc -xdev -name '*mtlsproxy*'; getent passwd _mtlsproxy || true"); found != "" {
		t.errorf("the system outside of the image has got: %s", found)
	}
}

// rpm installs the package as an argument says. No rpm knows what dpkg has installed.
func (t *trial) rpm(args ...string) { t.must("rpm", append(args, "--nodeps", rpmPath)...) }

func rpmLife(t *trial) {
	t.rpmLife(func() {})
}

func rpmHelper(t *trial) {
	t.writeMode(updateHelper, standIn, 0o755)
	t.rpmLife(func() {
		// Triggers of systemd's own package do this at the end of a transaction.
		t.must("systemctl", "daemon-reload")
		t.must("systemctl", "reload-or-restart", "--marked")
	})
}

// rpmLife installs, upgrades and erases the package; end is what the distribution does
// when rpm is through.
func (t *trial) rpmLife(end func()) {
	const instance = "mtlsproxy@one.service"
	t.rpm("--install")
	end()
	t.must("systemctl", "daemon-reload")
	for _, unit := range units {
		if r := t.run("systemctl", "is-enabled", unit); r.Code != 0 {
			t.errorf("%s is %s%s", unit, r.Stdout, r.Stderr)
		}
	}
	// Where rpm lives, a package starts nothing; the next boot does.
	t.must("systemctl", "start", "sockets.target", "multi-user.target")
	t.healthy()

	t.upstream()
	t.write(siteConfig, siteTables)
	t.write("/etc/mtlsproxy/one.toml", "# no route\n")
	t.must("systemctl", "enable", "--now", "mtlsproxy@one.socket", "mtlsproxy-admin@one.socket", instance)
	t.must("systemctl", "restart", service)
	t.answers()
	sockets, pid, other := t.since(), t.number(service, "MainPID"), t.number(instance, "MainPID")
	l := t.load(usual())
	// To rpm, the same version again is an upgrade like any other.
	t.rpm("--upgrade", "--replacepkgs")
	end()
	t.pass(afterwards)
	t.lostNothing(l.end())
	t.active(append(units, instance)...)
	if t.since() != sockets {
		t.errorf("the upgrade has closed the sockets")
	}
	if t.number(service, "MainPID") == pid {
		t.errorf("the upgrade has not restarted the service")
	}
	if t.number(instance, "MainPID") == other {
		t.errorf("the upgrade has not restarted the instance")
	}

	t.must("rpm", "--erase", "mtlsproxy")
	end()
	t.gone()
	if left := t.sh("find /usr /etc/systemd -xdev -name '*mtlsproxy*'"); left != "" {
		t.errorf("left after removal: %s", left)
	}
	for _, kept := range []string{siteConfig, tlsDir + "/client.key", stateDir} {
		t.must("test", "-e", kept)
	}
	t.must("getent", "passwd", "_mtlsproxy") // files elsewhere may belong to it

	t.rpm("--install")
	t.must("systemctl", "daemon-reload")
	t.must("systemctl", "start", "sockets.target", "multi-user.target")
	t.eventually(5*time.Second, "it serves again", func() bool { status, _ := t.get("/"); return status == 200 })
}
