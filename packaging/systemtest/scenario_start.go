package main

import (
	"strings"
	"time"
)

func startBySocket(t *trial) {
	t.site()
	for _, flags := range [][]string{nil, {"--unix-socket", unixPath}} {
		t.must("systemctl", "stop", service)
		if state := t.property(service, "ActiveState"); state != "inactive" {
			t.fatalf("the service is %s after stop", state)
		}
		if status, body := t.get("/", flags...); status != 200 {
			t.errorf("GET / %v: got %d %q, want 200", flags, status, body)
		}
		t.active(units...)
	}
	t.must("systemctl", "stop", service)
	t.must("mtlsproxyctl", "status")
	t.active(units...)
}

// together is how often all units are restarted in one transaction.
const together = 10

func startOrders(t *trial) {
	t.site()
	for _, order := range [][]string{
		{service, httpSocket, adminSocket},
		{service, adminSocket, httpSocket},
		{httpSocket, service, adminSocket},
		{httpSocket, adminSocket, service},
		{adminSocket, service, httpSocket},
		{adminSocket, httpSocket, service},
	} {
		t.must("systemctl", append([]string{"stop"}, units...)...)
		for _, unit := range order {
			t.must("systemctl", "start", unit)
		}
		t.whole(strings.Join(order, ", "))
		// Nobody in his senses starts and stops so often; five times in ten seconds is
		// what systemd allows.
		t.must("systemctl", append([]string{"reset-failed"}, units...)...)
	}
	for range together {
		t.must("systemctl", append([]string{"reset-failed"}, units...)...)
		t.must("systemctl", append([]string{"restart"}, units...)...)
		t.whole("all restarted together")
	}
	for _, unit := range units {
		t.must("systemctl", "restart", unit)
		// Who restarts a socket does not wait for the service that goes with it.
		t.eventually(5*time.Second, "the service is back", func() bool { return t.property(service, "ActiveState") == "active" })
		t.whole(unit + " restarted")
	}
}

// whole requires that everything is there.
func (t *trial) whole(after string) {
	before := len(t.wrong)
	t.active(units...)
	t.answers()
	if r := t.run("mtlsproxyctl", "status"); r.Code != 0 {
		t.errorf("mtlsproxyctl status: exit code %d", r.Code)
	}
	if len(t.wrong) > before {
		t.fatalf("that was after: %s", after)
	}
}

func maskedAdmin(t *trial) {
	t.site()
	t.must("systemctl", append([]string{"stop"}, units...)...)
	t.must("systemctl", "mask", adminSocket)
	t.must("systemctl", "start", httpSocket, service)
	t.active(service, httpSocket)
	t.answers()
	if r := t.run("mtlsproxyctl", "status"); r.Code != 3 {
		t.errorf("mtlsproxyctl status without an admin socket: exit code %d, want 3", r.Code)
	}
	t.must("systemctl", "restart", service)
	t.answers()
	t.must("systemctl", "unmask", adminSocket)
	t.must("systemctl", append([]string{"restart"}, units...)...)
	t.whole("unmasked")
}

func foreignSockets(t *trial) {
	t.site()
	t.write("/etc/systemd/system/foreign.socket", `[Socket]
ListenDatagram=127.0.0.1:7001
ListenFIFO=/run/foreign.fifo
ListenSequentialPacket=/run/foreign.seqpacket
FileDescriptorName=foreign
Service=`+service+"\n")
	t.write("/etc/systemd/system/foreign-admin.socket", `[Socket]
ListenStream=127.0.0.1:7002
FileDescriptorName=admin
Service=`+service+"\n")
	t.dropIn(service, "[Service]\nSockets=foreign.socket foreign-admin.socket\n")
	t.must("systemctl", "restart", service)
	t.whole("foreign sockets came")

	// A socket is known by its inode, in the tables of the kernel and among the
	// descriptors of the daemon.
	held := t.sh("ls -l /proc/" + t.property(service, "MainPID") + "/fd")
	for address, table := range map[string]string{":1B59 ": "udp", ":1B5A ": "tcp"} {
		inode := t.sh("awk '$2\" \" ~ /" + address + "$/ {print $10}' /proc/net/" + table)
		if inode == "" || strings.Contains(held, "socket:["+inode+"]") {
			t.errorf("the daemon holds the %s socket %s(inode %q)", table, address, inode)
		}
	}
	if strings.Contains(held, "foreign") {
		t.errorf("the daemon holds the pipe: %s", held)
	}
	said := t.messages(true)
	t.says("the journal", said, "127.0.0.1:7001", "/run/foreign.fifo", "/run/foreign.seqpacket", "127.0.0.1:7002")
	if r := t.run("curl", "--silent", "--max-time", "1", "http://127.0.0.1:7002/v1/status"); r.Code != 28 { // it took too long
		t.errorf("the admin API on TCP: curl's exit code is %d, want 28", r.Code)
	}
}

func noSockets(t *trial) {
	t.install()
	r := t.as("_mtlsproxy", "mtlsproxyd", "--config="+mainConfig)
	// On hosts without the unified cgroup hierarchy the metrics library has a word of its own.
	lines := 0
	for line := range strings.Lines(r.Stderr) {
		if !strings.Contains(line, "disable exposing PSI metrics") {
			lines++
		}
	}
	if r.Code != 78 || lines != 1 {
		t.errorf("without sockets: exit code %d and %d lines, want 78 and one: %s", r.Code, lines, r.Stderr)
	}
	t.says("the message", r.Stderr, "[listener.http]")
}

func template(t *trial) {
	t.site()
	t.sh("install -m 0644 " + siteConfig + " /etc/mtlsproxy/other.toml")
	t.must("systemctl", "start", "mtlsproxy@other.socket", "mtlsproxy-admin@other.socket")
	status, body := t.get("/", "--unix-socket", "/run/mtlsproxy/other/http.sock")
	if status != 200 {
		t.errorf("the instance: got %d %q, want 200", status, body)
	}
	t.active("mtlsproxy@other.service", service)
	t.must("mtlsproxyctl", "--socket=/run/mtlsproxy/other/admin.sock", "status")
	t.must("test", "-d", stateDir+"/other")
	t.must("systemctl", "reload", "mtlsproxy@other.service")
	t.must("systemctl", "stop", "mtlsproxy@other.socket", "mtlsproxy-admin@other.socket")
	if state := t.property("mtlsproxy@other.service", "ActiveState"); state != "inactive" {
		t.errorf("the instance is %s after its sockets were stopped", state)
	}
	t.whole("the instance came and went")
}

func idleExit(t *trial) {
	t.site()
	t.dropIn(service, "[Service]\nExecStart=\nExecStart=/usr/sbin/mtlsproxyd --config="+mainConfig+" --idle-exit=2s\n")
	t.must("systemctl", "restart", service)
	t.answers()
	for range 2 {
		t.eventually(20*time.Second, "it ends when idle", func() bool { return t.property(service, "ActiveState") == "inactive" })
		if result := t.property(service, "Result"); result != "success" {
			t.errorf("its result is %s", result)
		}
		t.active(httpSocket, adminSocket)
		t.answers()
	}
}
