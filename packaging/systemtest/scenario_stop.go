package main

import (
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
