package main

import (
	"fmt"
	"strings"
	"time"
)

func stopLong(t *trial) {
	t.site()
	t.stopWith("/slow?for=3s", 200, 10*time.Second)
	if t.run("test", "-e", unixPath).Code == 0 {
		t.errorf("%s is there after stop", unixPath)
	}
	if r := t.run("curl", "--silent", "http://"+tcpAddress+"/"); r.Code != 7 { // connection refused
		t.errorf("after stop, curl http://%s/: exit code %d, want 7", tcpAddress, r.Code)
	}

	// A drain that is longer than what the unit gives asks for more as it goes.
	t.dropIn(service, "[Service]\nTimeoutStopSec=3s\n")
	t.must("systemctl", append([]string{"start"}, units...)...)
	t.answers()
	t.stopWith("/slow?for=8s", 200, 15*time.Second)

	// And none lasts for ever.
	t.write(confDir+"/60-drain.toml", "[drain]\ntimeout = \"1s\"\n")
	t.must("systemctl", append([]string{"start"}, units...)...)
	t.answers()
	t.stopWith("/slow?for=50s", 0, 10*time.Second)
}

// stopWith stops everything while a request is under way, and requires that the
// request ends with a status, 0 meaning any but 200, and the service well and in time.
func (t *trial) stopWith(path string, want int, within time.Duration) {
	slow := t.later(path)
	t.eventually(5*time.Second, "the upstream has the request", t.busy)
	begun := time.Now()
	t.must("systemctl", append([]string{"stop"}, units...)...)
	took := time.Since(begun)
	t.notef("stop with %s took %.1f s", path, took.Seconds())
	if took > within {
		t.errorf("stop took %v", took)
	}
	if status, _ := slow(); want == 0 && status == 200 || want != 0 && status != want {
		t.errorf("%s: got %d, want %d", path, status, want)
	}
	if result := t.property(service, "Result"); result != "success" {
		t.errorf("the result of the service is %s", result)
	}
}

// The moments after which a daemon that is about to start is told something else: some
// come before the program runs, some before it is ready, and some after.
const (
	moments   = 30
	momentsBy = 4 * time.Millisecond
)

func stopStarting(t *trial) {
	t.site()
	sockets := t.since()
	for i := range moments {
		t.must("systemctl", "stop", service)
		t.sh(fmt.Sprintf("systemctl --no-block start %s; sleep %.3f; systemctl stop %[1]s", service, (time.Duration(i) * momentsBy).Seconds()))
		if state, result := t.property(service, "ActiveState"), t.property(service, "Result"); state != "inactive" || result != "success" {
			t.errorf("stopped %v after its start was asked for, it is %s with result %s", time.Duration(i)*momentsBy, state, result)
		}
	}
	said := t.messages(false)
	starting, started := strings.Count(said, "Starting "+service), strings.Count(said, "Started "+service)
	t.notef("%d of %d starts were stopped before READY=1", starting-started, starting)
	if starting == started {
		t.errorf("no stop came while it was starting, so this shows nothing")
	}
	if strings.Contains(said, "Failed with result") {
		t.errorf("the journal tells of a failure")
	}
	if t.since() != sockets {
		t.errorf("that has closed the sockets")
	}
	t.answers()
	t.whole("it was stopped while starting")
}
