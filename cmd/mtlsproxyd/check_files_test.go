package main

import (
	"strings"
	"testing"
)

func TestCheckTellsOfTooFewDescriptorsOfTheService(t *testing.T) {
	_, conf := serviceFiles(t)
	const set = `upstream.u.endpoints=["a:1"]`
	r := executeFor(t, &unit{name: "mtlsproxy.service", files: 640}, "--config", conf, "--set", set)
	const want = "note: mtlsproxy.service: LimitNOFILE, 640, leaves room for only 176 client connections beside those to upstreams; 256 connections want 800: raise it, or lower pool.max\n"
	if r.code != 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("got %+v, want %s", r, want)
	}
	for _, files := range []uint64{0, 65536} { // 0: nobody knows
		if r := executeFor(t, &unit{name: "mtlsproxy.service", files: files}, "--config", conf, "--set", set); r.code != 0 || strings.Contains(r.stderr, "LimitNOFILE") {
			t.Errorf("with %d: %+v", files, r)
		}
	}
}

func TestTheDescriptorsOfAUnitAreThoseOfSystemd(t *testing.T) {
	for value, want := range map[string]uint64{"65536": 65536, "infinity": 0, "": 0} {
		if u := parseUnit("mtlsproxy.service", "LoadState=loaded\nLimitNOFILE="+value+"\n"); u.files != want {
			t.Errorf("LimitNOFILE=%s is read as %d", value, u.files)
		}
	}
}
