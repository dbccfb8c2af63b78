package main

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " S 41 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 0 0"
	f := func(line string, want procStat) {
		t.Helper()
		got, err := parseStat(line)
		if err != nil || got != want {
			t.Errorf("parseStat(%q) = %+v, %v, want %+v", line, got, err, want)
		}
	}
	f("42 (nginx)"+tail, procStat{parent: 41, cpu: 3 * time.Second})
	f("42 (a) b (c)"+tail, procStat{parent: 41, cpu: 3 * time.Second})

	bad := func(line string) {
		t.Helper()
		if _, err := parseStat(line); err == nil {
			t.Errorf("parseStat(%q): no error", line)
		}
	}
	bad("")
	bad("42 nginx S 41")
	bad("42 (nginx) S 41")
	bad("42 (nginx) S x 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20")
}

func TestParsePSS(t *testing.T) {
	rollup := "00400000-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  1672 kB\nPss:   414 kB\nPss_Dirty: 112 kB\n"
	if got, err := parsePSS([]byte(rollup)); err != nil || got != 414<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "Rss: 1 kB\n", "Pss: x kB\n"} {
		if _, err := parsePSS([]byte(bad)); err == nil {
			t.Errorf("parsePSS(%q): no error", bad)
		}
	}
}

func TestCPUSince(t *testing.T) {
	before := cpuByPID{1: time.Second, 2: time.Second}
	used, err := cpuByPID{1: 2 * time.Second, 2: time.Second, 3: time.Second}.since(before)
	if err != nil || used != 2*time.Second {
		t.Errorf("got %v, %v", used, err)
	}
	if _, err := (cpuByPID{1: 2 * time.Second}).since(before); err == nil {
		t.Error("no error though a process has ended")
	}
}

func TestOwnProcess(t *testing.T) {
	tree, err := processTree(os.Getpid())
	if err != nil || !slices.Contains(tree, os.Getpid()) {
		t.Errorf("tree = %v, %v", tree, err)
	}
	cpu, err := treeCPU(os.Getpid())
	if err != nil || cpu[os.Getpid()] <= 0 {
		t.Errorf("cpu = %v, %v", cpu, err)
	}
	if pss, err := treePSS(os.Getpid()); err != nil || pss <= 0 {
		t.Errorf("pss = %d, %v", pss, err)
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel([]byte("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n")); got != "Fast CPU @ 3 GHz" {
		t.Errorf("got %q", got)
	}
	if got := cpuModel([]byte("processor\t: 0\n")); got == "" {
		t.Error("nothing in place of a missing model")
	}
}
