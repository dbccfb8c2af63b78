package main

import (
	"strings"
	"time"
)

func watchdog(t *trial) {
	t.site()
	t.dropIn(service, "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\n")
	t.must("systemctl", "restart", service)
	// It feeds the watchdog as long as it is well.
	t.pass(5 * time.Second)
	if n := t.number(service, "NRestarts"); n != 0 {
		t.fatalf("a healthy daemon was restarted %d times", n)
	}
	sockets := t.since()
	t.signal("STOP", t.property(service, "MainPID"))
	waiting := t.later("/")
	begun := time.Now()
	t.eventually(20*time.Second, "the watchdog bites", func() bool { return t.number(service, "NRestarts") > 0 })
	t.notef("restarted after %.1f s", time.Since(begun).Seconds())
	if status, _ := waiting(); status != 200 {
		t.errorf("the request that came meanwhile: got %d, want 200", status)
	}
	t.says("the journal", t.messages(false), "Watchdog timeout", "Failed with result 'watchdog'")
	if t.since() != sockets {
		t.errorf("that has closed the sockets")
	}
	t.whole("the watchdog")
}

// broken is a configuration that cannot be loaded.
const broken = "[listener.http\n"

func crashLoop(t *trial) {
	t.site()
	t.dropIn(service, "[Service]\nRestartSec=200ms\n")
	sockets := t.since()
	t.write(confDir+"/60-broken.toml", broken)
	if r := t.run("systemctl", "restart", service); r.Code == 0 {
		t.errorf("systemctl restart says that all is well")
	}
	waiting := t.later("/")
	t.eventually(30*time.Second, "it was tried eight times", func() bool { return t.number(service, "NRestarts") >= 8 })
	t.active(httpSocket, adminSocket)
	t.says("the journal", t.messages(false), confDir+"/60-broken.toml", "status=78/CONFIG")
	t.remove(confDir + "/60-broken.toml")
	status, took := waiting()
	if status != 200 {
		t.errorf("the request that waited: got %d, want 200", status)
	}
	t.notef("a request waited %.1f s", took.Seconds())
	if t.since() != sockets {
		t.errorf("the crash loop has closed the sockets")
	}
	t.whole("repaired")
}

// A sender that blocks stalls after some 280 messages that journald does not take.
const untaken = 400

func journaldStopped(t *trial) {
	t.site()
	journald := t.property("systemd-journald.service", "MainPID")
	l := t.load(usual())
	t.signal("STOP", journald)
	stopped := time.Now()
	// Each of these is an event. Nothing but the daemon may be asked meanwhile: the
	// service manager waits for the journal itself.
	r := t.run("timeout", "60", "sh", "-c", "i=0; while [ $i -lt 400 ]; do curl --silent --show-error --fail --unix-socket "+adminPath+
		" --output /dev/null --request PUT --json '{\"level\":\"info\"}' http://localhost/v1/level || exit 1; i=$((i+1)); done")
	t.pass(afterwards)
	c := l.end()
	t.signal("CONT", journald)
	stood := time.Since(stopped)
	if r.Code != 0 {
		t.errorf("%d changes of the level while the journal stood: exit code %d", untaken, r.Code)
	}
	t.lostNothing(c)
	// Who waits for the journal waits until it goes on. On a busy host everything takes
	// longer, and so does this.
	if c.Slowest > max(time.Second, stood/5) {
		t.errorf("a request took %v while the journal stood for %v", c.Slowest, stood)
	}
	before := strings.Count(t.messages(false), "\n")
	t.must("systemctl", "reload", service)
	t.eventually(10*time.Second, "events arrive again", func() bool { return strings.Count(t.messages(false), "\n") > before })
}

func badFiles(t *trial) {
	t.site()
	original := siteTables
	for _, c := range []struct {
		name, script string
		config       string
		says         []string
	}{
		{"a key that everybody can read", "chmod 0644 " + tlsDir + "/client.key", original,
			[]string{tlsDir + "/client.key", "chmod"}},
		{"a key that the daemon cannot read", "chmod 0600 " + tlsDir + "/client.key; chown root:root " + tlsDir + "/client.key", original,
			[]string{tlsDir + "/client.key", "_mtlsproxy", "chgrp"}},
		{"a certificate below /home", "install -D -m 0644 " + tlsDir + "/client.crt /home/site/client.crt",
			strings.Replace(original, tlsDir+"/client.crt", "/home/site/client.crt", 1),
			[]string{"/home/site/client.crt", "ProtectHome"}},
		{"a directory that is not there", "true",
			strings.Replace(original, tlsDir+"/client.crt", "/etc/mtlsproxy/missing/client.crt", 1),
			[]string{"there is no directory /etc/mtlsproxy/missing", "install -d"}},
	} {
		t.sh(c.script)
		t.write(siteConfig, c.config)
		r := t.run("mtlsproxyctl", "check")
		if r.Code != 1 {
			t.errorf("%s: mtlsproxyctl check: exit code %d, want 1", c.name, r.Code)
		}
		t.says("for "+c.name+", mtlsproxyctl check", r.Stdout+r.Stderr, c.says...)
		if r := t.run("systemctl", "reload", service); r.Code == 0 {
			t.errorf("%s: systemctl reload says that all is well", c.name)
		}
		t.answers()
		t.sh("cd " + tlsDir + "; chown root:_mtlsproxy client.key; chmod 0640 client.key")
		t.write(siteConfig, original)
		t.must("systemctl", "reload", service)
	}
}
