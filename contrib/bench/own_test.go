package main

import (
	"io"
	"path/filepath"
	"slices"
	"testing"
)

func TestOwnPeerRunsAsOperatorsRunIt(t *testing.T) {
	f := func(keepLog bool, enabled string) {
		t.Helper()
		p := ownPeer("mtlsproxy", "/nowhere", keepLog, []string{"--last"})
		var states []string
		for range 2 {
			how, err := p.command(site{Dir: t.TempDir()}, "127.0.0.1:1", 2)
			if err != nil {
				t.Fatal(err)
			}
			if got := how.argv[len(how.argv)-1]; got != "--last" {
				t.Errorf("the last argument is %q", got)
			}
			if (how.admin != "") != keepLog {
				t.Errorf("request log %v, but asked at %q", keepLog, how.admin)
			}
			if !slices.Contains(how.argv, "log.enabled="+enabled) {
				t.Errorf("arguments %q", how.argv)
			}
			i := slices.IndexFunc(how.argv, func(s string) bool { return filepath.Base(s) == "admin.sock" })
			if i < 0 {
				t.Fatalf("no admin socket in %q", how.argv)
			}
			states = append(states, how.argv[i])
		}
		if states[0] == states[1] {
			t.Errorf("two starts share %q", states[0])
		}
	}
	f(true, "true")
	f(false, "false")
}

func TestPairsAreOfTheBuildTheRatiosAreAbout(t *testing.T) {
	b := &bench{
		opt:   options{only: []string{sectionSmall, sectionLog, sectionLimits}},
		peers: []*peer{{name: "nginx", program: "/nginx"}, {name: "a", program: "/a", own: true}, {name: "b", program: "/b", own: true}},
	}
	b.findPairs()
	for section, want := range map[string][2]string{sectionLog: {logOn, logOff}, sectionLimits: {limitsOn, limitsOff}} {
		pair, ok := b.pairs[section]
		if !ok || pair[0].name != want[0] || pair[1].name != want[1] {
			t.Fatalf("%s: got %+v", section, pair)
		}
		for _, p := range pair {
			if p.program != "/a" {
				t.Errorf("%s runs %s", p.name, p.program)
			}
		}
	}
}

func TestPairsAreSkippedWithoutADaemon(t *testing.T) {
	b := &bench{
		opt:      options{only: []string{sectionSmall, sectionLog, sectionLimits}},
		progress: io.Discard,
		results:  &results{},
		peers:    []*peer{{name: "nginx"}},
	}
	b.findPairs()
	if b.opt.selected(sectionLog) || b.opt.selected(sectionLimits) || len(b.results.skipped) != 2 {
		t.Errorf("sections %v, skipped %q", b.opt.only, b.results.skipped)
	}
}
