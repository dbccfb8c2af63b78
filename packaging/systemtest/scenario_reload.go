package main

import (
	"strings"
	"time"
)

// marked is the site's configuration with a mark in every answer.
func marked(mark string) string {
	return siteTables + "response_headers.set = { X-Mark = \"" + mark + "\" }\n"
}

// mark requires that answers have a mark.
func (t *trial) mark(want string) {
	status, body := t.get("/", "--include")
	if status != 200 || !strings.Contains(body, "X-Mark: "+want+"\r\n") {
		t.errorf("got %d %q, want 200 with the mark %q", status, body, want)
	}
}

func reload(t *trial) {
	t.site()
	pid := t.number(service, "MainPID")
	l := t.load(usual())

	t.write(siteConfig, marked("first"))
	t.must("systemctl", "reload", service)
	t.mark("first")

	t.write(siteConfig, marked("second"))
	t.write(confDir+"/60-broken.toml", broken)
	if r := t.run("systemctl", "reload", service); r.Code == 0 {
		t.errorf("systemctl reload of a broken configuration says that all is well")
	}
	t.active(units...)
	t.mark("first")
	t.says("the journal", t.messages(false), confDir+"/60-broken.toml")

	t.signal("HUP", t.property(service, "MainPID"))
	t.pass(500 * time.Millisecond)
	t.active(units...)
	t.mark("first")

	t.remove(confDir + "/60-broken.toml")
	t.must("systemctl", "reload", service)
	t.mark("second")
	t.write(siteConfig, marked("third"))
	t.signal("HUP", t.property(service, "MainPID"))
	t.eventually(5*time.Second, "SIGHUP reloads", func() bool {
		_, body := t.get("/", "--include")
		return strings.Contains(body, "X-Mark: third\r\n")
	})
	t.lostNothing(l.end())
	if t.number(service, "MainPID") != pid {
		t.errorf("it was restarted")
	}
}

func rotation(t *trial) {
	t.site()
	if _, who := t.get("/who"); who != "first\n" {
		t.fatalf("the upstream sees %q", who)
	}
	l := t.load(usual())
	for _, name := range []string{"second", "third"} {
		t.identity(name)
		t.must("systemctl", "reload", service)
		if _, who := t.get("/who"); who != name+"\n" {
			t.errorf("after the reload the upstream sees %q, want %q", who, name)
		}
	}
	t.lostNothing(l.end())
}

func notifyReload(t *trial) {
	t.site()
	t.sh("install -D -m 0644 " + examples + "/notify-reload.conf /etc/systemd/system/" + service + ".d/notify-reload.conf; systemctl daemon-reload; systemctl restart " + service)
	if kind := t.property(service, "Type"); kind != "notify-reload" {
		t.fatalf("the type is %s", kind)
	}
	pid := t.number(service, "MainPID")
	for _, mark := range []string{"first", "second", "third"} {
		t.write(siteConfig, marked(mark))
		begun := time.Now()
		t.must("systemctl", "reload", service)
		if took := time.Since(begun); took > 5*time.Second {
			t.errorf("the reload took %v", took)
		}
		t.mark(mark)
	}
	t.write(confDir+"/60-broken.toml", broken)
	t.run("systemctl", "reload", service) // the protocol has no word for failure
	t.active(units...)
	t.mark("third")
	t.says("the status", t.property(service, "StatusText"), "reload")
	if t.number(service, "MainPID") != pid {
		t.errorf("it was restarted")
	}
}

func dropIns(t *trial) {
	t.site()
	t.sh("install -d -m 0700 /etc/ssl/private/mtlsproxy; cp " + tlsDir + "/* /etc/ssl/private/mtlsproxy; chmod 0600 /etc/ssl/private/mtlsproxy/*")
	t.writeMode("/etc/mtlsproxy/metrics.token", strings.Repeat("0123456789abcdef", 4)+"\n", 0o600)
	credentials := strings.ReplaceAll(siteTables, tlsDir, "${CREDENTIALS_DIRECTORY}")
	for _, c := range []struct {
		name, unit, since string
		config            string
		works             func()
	}{
		{name: "credentials", unit: service, config: credentials},
		{name: "metrics", unit: service, works: func() {
			t.sh("curl --silent --show-error --fail --header \"Authorization: Bearer $(cat /etc/mtlsproxy/metrics.token)\" http://127.0.0.1:8981/metrics | grep --quiet ^mtlsproxy_")
		}},
		{name: "log-namespace", unit: service, works: func() {
			t.eventually(10*time.Second, "events are in a journal of their own", func() bool {
				return t.must("journalctl", "--namespace=mtlsproxy", "--output=cat", "_SYSTEMD_UNIT="+service) != ""
			})
		}},
		{name: "254+", unit: service, since: "debian13"},
		{name: "private-users", unit: service, since: "debian13", works: func() {
			if r := t.as("_mtlsproxy", "mtlsproxyctl", "level", "info"); r.Code != 0 {
				t.errorf("the daemon no longer knows who calls")
			}
		}},
	} {
		if c.since > t.release.Name {
			continue
		}
		t.log.WriteString("-- " + c.name + "\n")
		target := "/etc/systemd/system/" + c.unit + ".d/" + c.name + ".conf"
		t.sh("install -D -m 0644 '" + examples + "/" + c.name + ".conf' '" + target + "'; systemctl daemon-reload")
		if c.config != "" {
			t.write(siteConfig, c.config)
		}
		if r := t.run("systemd-analyze", "verify", "--man=no", c.unit); r.Code != 0 || r.Stdout+r.Stderr != "" {
			t.errorf("%s: systemd-analyze verify is not silent: %s%s", c.name, r.Stdout, r.Stderr)
		}
		t.must("systemctl", "restart", c.unit)
		t.whole("with " + c.name)
		if c.works != nil {
			c.works()
		}
		t.remove(target)
		t.write(siteConfig, siteTables)
		t.must("systemctl", "daemon-reload")
		t.must("systemctl", "restart", c.unit)
	}
}
