package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/load"
)

// many is how many idle connections are handed over at once: more than fit into one
// message of the kernel, for each of the two listeners.
const many = 600

// mostlyIdle is a load of many connections on which little is asked.
func mostlyIdle() load.Options {
	return load.Options{Addresses: []string{tcpAddress, unixPath}, Keep: many, Every: 5 * time.Second}
}

func restartIdle(t *trial) {
	t.site()
	o := mostlyIdle()
	l := t.load(o)
	begun := time.Now()
	t.must("systemctl", "restart", service)
	t.notef("restart took %.2f s", time.Since(begun).Seconds())
	t.pass(o.Every + afterwards)
	c := l.end()
	t.lostNothing(c)
	if c.Answered < 2*many {
		t.errorf("of %d connections not each has had an answer before the restart and one after it: %d answers", many, c.Answered)
	}
	t.eventually(5*time.Second, "the fd store is empty", func() bool { return t.number(service, "NFileDescriptorStore") == 0 })
}

// few is how many descriptors a daemon may have that is to take over more.
const few = 256

// storeShort lets the next process have fewer descriptors than there are connections.
// Nobody asks meanwhile: there would be none for the answers.
func storeShort(t *trial) {
	t.site()
	o := mostlyIdle()
	o.Every = time.Minute
	l := t.load(o)
	t.dropIn(service, fmt.Sprintf("[Service]\nLimitNOFILE=%d\n", few))
	t.must("systemctl", "restart", service)
	t.pass(afterwards)
	c := l.end()
	t.lostNoRequest(c)
	if c.Closed < many-few || c.Closed == many {
		t.errorf("%d of %d connections were closed, want at least %d: a process with %d descriptors took over the others", c.Closed, many, many-few, few)
	}
	t.remove("/etc/systemd/system/" + service + ".d/50-test.conf")
	t.must("systemctl", "daemon-reload")
	t.must("systemctl", "restart", service)
	t.whole("few descriptors")
}

func restartTwice(t *trial) {
	t.site()
	sockets := t.since()
	l := t.load(usual())
	for i := range moments {
		t.sh(fmt.Sprintf("systemctl --no-block restart %s; sleep %.3f; systemctl restart %[1]s", service, (time.Duration(i) * momentsBy).Seconds()))
	}
	t.pass(afterwards)
	t.lostNothing(l.end())
	said := t.messages(false)
	t.notef("%d starts", strings.Count(said, "Starting "+service))
	if strings.Contains(said, "Failed with result") {
		t.errorf("the journal tells of a failure")
	}
	t.active(units...)
	if t.since() != sockets {
		t.errorf("the restart has closed the sockets")
	}
}
