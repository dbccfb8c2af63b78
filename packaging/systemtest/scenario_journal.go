package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entry is what of a journal entry matters here (systemd.journal-fields(7)).
type entry struct {
	Message   any    `json:"MESSAGE"` // a list of numbers if it is not text
	ID        string `json:"MESSAGE_ID"`
	Priority  string `json:"PRIORITY"`
	Name      string `json:"SYSLOG_IDENTIFIER"`
	Comm      string `json:"_COMM"`
	PID       string `json:"_PID"`
	Monotonic string `json:"__MONOTONIC_TIMESTAMP"`
	Source    string `json:"_SOURCE_MONOTONIC_TIMESTAMP"` // where the sender noted it, from systemd 254 on
}

func (e *entry) text() string {
	text, _ := e.Message.(string) // bytes that are no text are of no interest
	return text
}

// at is when the entry was written, by the monotonic clock.
func (e *entry) at() time.Duration {
	stamp := e.Monotonic
	if e.Source != "" {
		stamp = e.Source
	}
	usec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// entries are the entries of the journal that match.
func (t *trial) entries(match ...string) []entry {
	t.must("journalctl", "--sync")
	out := t.must("journalctl", append([]string{"--output=json", "--no-pager", "--quiet"}, match...)...)
	var all []entry
	for line := range strings.Lines(out) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.fatalf("reading the journal: %v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

const (
	// starts of which the middle one counts: the machine has other things to do.
	starts = 5
	// longestStart is from exec to READY=1.
	longestStart = 50 * time.Millisecond
)

// readyTime makes the service manager tell of every step. The last thing that the new
// process says before it becomes the daemon is what it executes.
func readyTime(t *trial) {
	t.site()
	t.must("systemctl", "log-level", "debug")
	var took []time.Duration
	for range starts {
		t.must("systemctl", "restart", service)
		pid := t.property(service, "MainPID")
		var begun, ready time.Duration
		for _, e := range t.entries("--boot", "--unit="+service) {
			switch {
			case e.PID == pid && strings.Contains(e.text(), "Executing: ") && strings.Contains(e.text(), "/usr/sbin/mtlsproxyd"):
				begun = e.at()
			case e.PID == "1" && strings.Contains(e.text(), "Got notification message from PID "+pid) && strings.Contains(e.text(), "READY=1"):
				if ready == 0 {
					ready = e.at()
				}
			}
		}
		if begun == 0 || ready < begun {
			t.fatalf("the journal does not tell when %s was executed (%v) and ready (%v)", pid, begun, ready)
		}
		took = append(took, ready-begun)
	}
	slices.Sort(took)
	t.notef("exec to READY=1: %d to %d ms, middle %d ms", took[0].Milliseconds(), took[starts-1].Milliseconds(), took[starts/2].Milliseconds())
	if took[starts/2] > longestStart {
		t.errorf("from exec to READY=1 it took %v, want at most %v", took[starts/2], longestStart)
	}
}

func story(t *trial) {
	t.site()
	t.identity("second")
	t.must("systemctl", "reload", service)
	t.write(siteConfig, marked("reloaded"))
	t.must("systemctl", "reload", service)
	t.must("systemctl", "restart", service)
	t.answers()
	t.must("systemctl", append([]string{"stop"}, units...)...)

	catalog := t.must("journalctl", "--list-catalog")
	told := t.entries("_COMM=mtlsproxyd")
	if len(told) == 0 {
		t.fatalf("the daemon has told nothing")
	}
	for _, e := range told {
		switch {
		case e.ID == "":
			t.errorf("an event without MESSAGE_ID: %s", e.text())
		case !strings.Contains(catalog, e.ID):
			t.errorf("the catalog does not explain: %s", e.text())
		}
		if e.Name != "mtlsproxy" {
			t.errorf("it calls itself %q: %s", e.Name, e.text())
		}
		// Before the site was configured there was something to warn of.
		if p, err := strconv.Atoi(e.Priority); err != nil || p < 4 {
			t.errorf("an error, though nothing went wrong: %s", e.text())
		}
	}
	t.notef("%d events", len(told))
	t.logf("-- the story\n")
	for _, e := range told {
		t.logf("<%s> %s\n", e.Priority, e.text())
	}
	explained := t.must("journalctl", "--catalog", "--no-pager", "_COMM=mtlsproxyd")
	t.says("journalctl -x", explained, "Subject:", "Defined-By: mtlsproxy", "man:mtlsproxyd(8)")
}
