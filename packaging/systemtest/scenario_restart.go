package main

import (
	"time"
)

const (
	// restarts under one load.
	restarts = 4
	// afterwards is for how long a load goes on after what it is about.
	afterwards = 1500 * time.Millisecond
)

func restartLoad(t *trial) {
	t.site()
	sockets := t.since()
	l := t.load(usual())
	for range restarts {
		pid := t.number(service, "MainPID")
		t.must("systemctl", "restart", service)
		if t.number(service, "MainPID") == pid {
			t.errorf("the service was not restarted")
		}
		t.pass(afterwards)
	}
	t.lostNothing(l.end())
	t.active(units...)
	if t.since() != sockets {
		t.errorf("the restart has closed the sockets")
	}
	// What is taken over is let go of, or the clients' ends would never be seen.
	t.eventually(5*time.Second, "the fd store is empty", func() bool { return t.number(service, "NFileDescriptorStore") == 0 })
}

func restartLong(t *trial) {
	t.site()
	slow := t.later("/slow?for=3s")
	t.eventually(5*time.Second, "the upstream has the request", t.busy)
	begun := time.Now()
	t.must("systemctl", "restart", service)
	took := time.Since(begun)
	if status, _ := slow(); status != 200 {
		t.errorf("the request under way: got %d, want 200", status)
	}
	t.notef("restart took %.1f s", took.Seconds())
	t.answers()
}

// busy reports whether the upstream has an exchange under way.
func (t *trial) busy() bool { return t.run("test", "-e", upstreamDir+"/"+slowFile).Code == 0 }

// storeFull gives the fd store no room. The clients are slow, so that none of them
// sends while its connection is closed: that request would be lost to the nature of
// HTTP, not to the restart.
func storeFull(t *trial) {
	t.site()
	t.dropIn(service, "[Service]\nFileDescriptorStoreMax=0\n")
	t.must("systemctl", "restart", service)
	o := usual()
	o.Fresh, o.Every = 0, 4*time.Second
	l := t.load(o)
	t.must("systemctl", "restart", service)
	t.pass(o.Every)
	c := l.end()
	t.lostNoRequest(c)
	if c.Closed != o.Keep {
		t.errorf("%d of %d connections were closed, though there was no place for any", c.Closed, o.Keep)
	}
}

func killLoad(t *trial) {
	t.site()
	sockets := t.since()
	o := usual()
	o.Fresh = 20
	l := t.load(o)
	pid := t.number(service, "MainPID")
	t.signal("KILL", t.property(service, "MainPID"))
	t.pass(afterwards)
	t.eventually(10*time.Second, "another process serves", func() bool {
		return t.property(service, "ActiveState") == "active" && t.number(service, "MainPID") != pid
	})
	t.pass(afterwards)
	c := l.end()
	t.counted(c)
	if c.Refused > 0 {
		t.errorf("%d connections were refused: %v", c.Refused, c.Errors)
	}
	if c.Failed > c.Clients || c.Closed > c.Clients {
		t.errorf("%d requests failed and %d connections were closed, which is more than there were clients", c.Failed, c.Closed)
	}
	if c.Slowest < 500*time.Millisecond {
		t.errorf("nobody waited for the next process, so this shows nothing")
	}
	if t.since() != sockets {
		t.errorf("the crash has closed the sockets")
	}
}
