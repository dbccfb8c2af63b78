package main

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is a made-up run: goals that hold, some that are missed, some not measured.
func sample() *results {
	r := &results{
		when:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		machine: machine{kernel: "Linux 6.1.0", cpu: "Some CPU", cpus: 2, temp: "on disk"},
		columns: []column{
			{Name: "nginx", Version: "nginx/1.22.1"},
			{Name: "haproxy", Version: "HAProxy version 2.6.12"},
			{Name: "mtlsproxy", Version: "mtlsproxyd 0.1.0", Own: true},
			{Name: "pgo", Version: "mtlsproxyd 0.1.0", Own: true},
		},
		threads: []int{1, 2},
		method:  []string{"Made up."},
		skipped: []string{"idle connections: needs more files"},
		rate:    map[int]float64{1: 20000},
		values:  make(map[cell]series),
	}
	for i, peer := range []string{"nginx", "haproxy", "mtlsproxy", "pgo"} {
		for _, v := range []float64{25, 24, 26.5} {
			r.add(1, peer, "small.cpu", v-2*float64(i))
			r.add(2, peer, "small.cpu", v+2*float64(i))
		}
		r.add(1, peer, "small.rps", 40000+float64(i))
		r.add(1, peer, "rate.p99", 500)
	}
	r.add(1, "mtlsproxy", "down.cpu", 0.5)
	for i, name := range []string{logOn, logOff} {
		for _, v := range []float64{15, 14.5, 15.5} {
			r.add(1, name, "small.cpu", v-float64(i))
			r.add(1, name, "rate.p99", 100*v/float64(i+1))
		}
	}
	for i, name := range []string{limitsOn, limitsOff} {
		for _, v := range []float64{15, 14.5, 15.5} {
			r.add(1, name, "small.cpu", v-float64(i)/2)
		}
	}
	for _, name := range []string{"mtlsproxy", logOn} {
		r.count(1, name, "log.kept", 100000)
		r.count(1, name, "log.kept", 20000)
		r.count(1, name, "log.lost", 1)
	}
	return r
}

func TestGolden(t *testing.T) {
	golden(t, "report.txt", textReport(sample()))
	golden(t, "report.md", markdownReport(sample(), "Kept *as is*.\n"))
	golden(t, "plot.svg", plot(sample()))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it):\n%s", file, got)
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	r := sample()
	r.columns[3].Name = `<"&>`
	r.add(1, r.columns[3].Name, "small.cpu", 0)
	for _, svg := range []string{plot(r), plot(&results{})} {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in %s", err, svg)
			}
		}
	}
}

func TestMedian(t *testing.T) {
	f := func(want float64, s ...float64) {
		t.Helper()
		if got := series(s).median(); got != want {
			t.Errorf("median of %v = %v, want %v", s, got, want)
		}
	}
	f(1, 1)
	f(1.5, 2, 1)
	f(2, 9, 1, 2)
	f(3, 9, 1, 2, 4)
}

func TestRatio(t *testing.T) {
	r := &results{values: make(map[cell]series)}
	r.add(1, "a", "m", 3)
	r.add(1, "b", "m", 2)
	r.add(1, "zero", "m", 0)
	if got, ok := r.ratio(1, "a", "b", "m"); !ok || got != 1.5 {
		t.Errorf("got %v, %v", got, ok)
	}
	for _, over := range []string{"zero", "nobody"} {
		if got, ok := r.ratio(1, "a", over, "m"); ok {
			t.Errorf("ratio over %s = %v", over, got)
		}
	}
}

func TestGoalsNameMetrics(t *testing.T) {
	for _, g := range goals() {
		metricByID(g.metric)
	}
}

func TestAlternatingOrder(t *testing.T) {
	peers := []*peer{{name: "a"}, {name: "b"}, {name: "c"}}
	var got []string
	for round := range 3 {
		for _, p := range inOrder(peers, round) {
			got = append(got, p.name)
		}
	}
	if s := strings.Join(got, ""); s != "abccbaabc" {
		t.Errorf("order %s", s)
	}
}

func TestBulkRequestsRoundUp(t *testing.T) {
	b := &bench{opt: options{bulkMiB: 1024}}
	if got := b.bulkRequests(fileBytes); got != 4 {
		t.Errorf("got %d", got)
	}
	b.opt.bulkMiB = 1
	if got := b.bulkRequests(fileBytes); got != 1 {
		t.Errorf("got %d", got)
	}
}
