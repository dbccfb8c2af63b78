package main

import (
	"fmt"
	"strings"
	"time"
)

func freshInstall(t *trial) {
	if r := t.run("dpkg", "--install", debPath); r.Code != 0 || strings.Contains(r.Stdout+r.Stderr, "did not start") {
		t.fatalf("dpkg: exit code %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	t.healthy()
	if failed := t.must("systemctl", "--failed", "--plain", "--no-legend"); failed != "" {
		t.errorf("units failed: %s", failed)
	}
	for _, unit := range units {
		if state := t.run("systemctl", "is-enabled", unit); state.Code != 0 {
			t.errorf("%s is %s", unit, strings.TrimSpace(state.Stdout))
		}
	}
	r := t.run("mtlsproxyctl", "status")
	if r.Code > 1 {
		t.errorf("mtlsproxyctl status: exit code %d", r.Code)
	}
	if audit := t.must("dpkg", "--audit"); audit != "" {
		t.errorf("dpkg --audit: %s", audit)
	}
	r = t.run("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...)
	if r.Code != 0 || r.Stdout+r.Stderr != "" {
		t.errorf("systemd-analyze verify is not silent: %s%s", r.Stdout, r.Stderr)
	}
}

// portTaken installs the package where another program has the port.
func portTaken(t *trial) {
	t.must("systemd-run", "--quiet", "--unit=taken", "--socket-property=ListenStream="+tcpAddress, "--socket-property=Accept=yes", "cat")
	r := t.run("dpkg", "--install", debPath)
	line := httpSocket + " did not start: systemctl status " + httpSocket
	if r.Code != 0 || strings.Count(r.Stdout+r.Stderr, line) != 1 {
		t.errorf("dpkg: exit code %d, want 0 and %q: %s%s", r.Code, line, r.Stdout, r.Stderr)
	}
}

// healthy requires the state after an installation: all units active, and 503 with
// advice for every request.
func (t *trial) healthy() {
	t.active(units...)
	for _, flags := range [][]string{nil, {"--unix-socket", unixPath}} {
		status, body := t.get("/", flags...)
		if status != 503 || !strings.Contains(body, mainConfig) {
			t.errorf("GET / %v: got %d %q, want 503 that names %s", flags, status, body, mainConfig)
		}
	}
}

func permissions(t *trial) {
	t.site()
	for _, want := range []string{
		"755 root:root /usr/sbin/mtlsproxyd",
		"755 root:root /usr/bin/mtlsproxyctl",
		"755 root:root /etc/mtlsproxy",
		"644 root:root " + mainConfig,
		"755 root:root " + confDir,
		"2750 root:_mtlsproxy " + tlsDir,
		"640 root:_mtlsproxy " + tlsDir + "/client.key",
		"755 root:root /run/mtlsproxy",
		"660 root:mtlsproxy " + unixPath,
		"660 _mtlsproxy:mtlsproxy-admin " + adminPath,
		"700 _mtlsproxy:_mtlsproxy " + stateDir,
	} {
		path := want[strings.LastIndexByte(want, ' ')+1:]
		if r := t.run("stat", "--format=%a %U:%G %n", path); strings.TrimSpace(r.Stdout) != want {
			t.errorf("got %q, want %q", strings.TrimSpace(r.Stdout+r.Stderr), want)
		}
	}
	if others := t.sh("find " + stateDir + " -mindepth 1 ! -type d ! -perm 600 -o -mindepth 1 -type d ! -perm 700 -o ! -user _mtlsproxy"); others != "" {
		t.errorf("not the daemon's alone: %s", others)
	}
	if writable := t.sh("dpkg --listfiles mtlsproxy | while read -r f; do find \"$f\" -maxdepth 0 ! -type l \\( -perm /022 -o ! -user root \\); done"); writable != "" {
		t.errorf("in the package and writable by others than root: %s", writable)
	}
	// The key is for root and the daemon, and nobody else.
	for user, may := range map[string]bool{"_mtlsproxy": true, "nobody": false} {
		if r := t.as(user, "cat", tlsDir+"/client.key"); (r.Code == 0) != may {
			t.errorf("%s reads the key: exit code %d", user, r.Code)
		}
	}
	if r := t.as("nobody", "curl", "--silent", "--show-error", "--unix-socket", unixPath, "http://localhost/"); r.Code == 0 {
		t.errorf("nobody may connect to %s", unixPath)
	}
}

func removal(t *trial) {
	t.install()
	t.write(siteConfig, "# a site's own\n")
	t.must("dpkg", "--remove", "mtlsproxy")
	t.gone()
	for _, kept := range []string{mainConfig, siteConfig, stateDir} {
		t.must("test", "-e", kept)
	}

	t.must("dpkg", "--install", debPath)
	t.healthy()

	t.remove(siteConfig)
	t.must("systemctl", "enable", "mtlsproxy@other.socket", "mtlsproxy-admin@other.socket", "mtlsproxy@other.service")
	t.must("dpkg", "--purge", "mtlsproxy")
	t.gone()
	if left := t.sh("find / -xdev -name '*mtlsproxy*' ! -path '/proc/*' ! -path '/opt/*' ! -path '/var/cache/*' ! -path '/var/log/*'"); left != "" {
		t.errorf("left after purge: %s", left)
	}
	t.must("getent", "passwd", "_mtlsproxy") // files elsewhere may belong to it

	t.must("dpkg", "--install", debPath)
	t.healthy()
}

// gone requires that nothing of the package runs or listens.
func (t *trial) gone() {
	if r := t.run("curl", "--silent", "--max-time", "5", "http://"+tcpAddress+"/"); r.Code != 7 { // connection refused
		t.errorf("after removal, curl http://%s/: exit code %d, want 7", tcpAddress, r.Code)
	}
	if found := t.sh("grep -l mtlsproxy /proc/[0-9]*/comm 2>/dev/null || true"); found != "" {
		t.errorf("after removal, processes run: %s", found)
	}
	if t.run("test", "-e", "/run/mtlsproxy").Code == 0 {
		t.errorf("after removal, /run/mtlsproxy is there")
	}
	if found := t.must("systemctl", "list-units", "--plain", "--no-legend", "mtlsproxy*"); found != "" {
		t.errorf("after removal, units are active: %s", found)
	}
	if found := t.sh("dpkg --listfiles mtlsproxy 2>/dev/null | grep '^/usr/.*mtlsproxy' || true"); found != "" {
		t.errorf("after removal, files are there: %s", found)
	}
}

// newer builds the package again with a higher version, and returns where it is.
func (t *trial) newer() string {
	const path = "/tmp/newer.deb"
	t.sh(fmt.Sprintf("dpkg-deb --raw-extract %s /tmp/newer; sed -i 's/^Version: .*/&+1/' /tmp/newer/DEBIAN/control; dpkg-deb -Zgzip -z1 --build /tmp/newer %s", debPath, path))
	return path
}

func upgradeLoad(t *trial) {
	t.site()
	deb := t.newer()
	sockets, pid, version := t.since(), t.number(service, "MainPID"), t.version()
	l := t.load(usual())
	t.must("dpkg", "--install", deb)
	t.pass(afterwards)
	t.lostNothing(l.end())
	t.active(units...)
	if t.since() != sockets {
		t.errorf("the upgrade has closed the sockets")
	}
	if t.number(service, "MainPID") == pid || t.version() == version {
		t.errorf("the upgrade has not restarted the service, or not been one")
	}
}

// The package is there all the same: what is wrong is the site's configuration, for one.
func upgradeBroken(t *trial) {
	const line = "mtlsproxy.service did not start: systemctl status mtlsproxy.service"
	t.site()
	deb := t.newer()
	t.write(confDir+"/60-broken.toml", broken)
	if r := t.run("dpkg", "--install", deb); r.Code != 0 || strings.Count(r.Stdout+r.Stderr, line) != 1 {
		t.errorf("dpkg: exit code %d, want 0 and %q: %s%s", r.Code, line, r.Stdout, r.Stderr)
	}
	t.remove(confDir + "/60-broken.toml")
	t.eventually(10*time.Second, "it serves", func() bool { status, _ := t.get("/"); return status == 200 })
	if r := t.run("dpkg", "--install", deb); r.Code != 0 || strings.Contains(r.Stdout+r.Stderr, line) {
		t.errorf("dpkg, of what works: exit code %d, want 0 and not %q: %s%s", r.Code, line, r.Stdout, r.Stderr)
	}
}

func (t *trial) version() string {
	return t.must("dpkg-query", "--show", "--showformat=${Version}", "mtlsproxy")
}

func upgradeDisabled(t *trial) {
	t.install()
	deb := t.newer()
	t.must("systemctl", append([]string{"disable", "--now"}, units...)...)
	t.must("dpkg", "--install", deb)
	for _, unit := range units {
		if r := t.run("systemctl", "is-enabled", unit); strings.TrimSpace(r.Stdout) != "disabled" {
			t.errorf("%s is %s after the upgrade", unit, strings.TrimSpace(r.Stdout))
		}
		if state := t.property(unit, "ActiveState"); state != "inactive" {
			t.errorf("%s is %s after the upgrade", unit, state)
		}
	}
}
