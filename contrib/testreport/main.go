// Command testreport runs go test with the arguments it is given, and reports what a
// person wants to know: what failed and why, what was skipped and why, and how many
// of each. go test itself keeps silent about skipped tests.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: that of go test, or 1 if its output says that
// something failed.
func run(args []string, stdout, stderr io.Writer) int {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) //nolint:gosec,noctx // running it is the job, for as long as it takes
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(stderr, "testreport:", err)
		return 1
	}
	begun := time.Now()
	r := newReport(stdout)
	readErr := r.read(out)
	err = cmd.Wait()
	r.summary(time.Since(begun))
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	switch {
	case err != nil || readErr != nil:
		fmt.Fprintln(stderr, "testreport:", errors.Join(err, readErr))
		return 1
	case r.failed > 0:
		return 1
	}
	return 0
}

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// test names a test, or a package when Name is empty.
type test struct{ pkg, name string }

// report gathers what happened.
type report struct {
	w                       io.Writer
	output                  map[test]*strings.Builder
	broken                  map[string]bool // packages with a test that failed
	skips                   []string
	passed, failed, skipped int
}

func newReport(w io.Writer) *report {
	return &report{w: w, output: map[test]*strings.Builder{}, broken: map[string]bool{}}
}

// read takes events as they come, and prints packages and failures at once.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				_, _ = r.w.Write(line) // not of the tests: print it as it is
			} else {
				r.take(&e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e *event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		b := r.output[t]
		if b == nil {
			b = new(strings.Builder)
			r.output[t] = b
		}
		b.WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, t)
		} else {
			r.endTest(e, t)
		}
		delete(r.output, t)
	}
}

func (r *report) endTest(e *event, t test) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		r.broken[t.pkg] = true
		fmt.Fprintf(r.w, "FAIL  %s %s\n%s", t.pkg, t.name, r.text(t))
	case "skip":
		r.skipped++
		r.skips = append(r.skips, fmt.Sprintf("SKIP  %s %s: %s", t.pkg, t.name, reason(r.text(t))))
	}
}

// endPackage prints a line for a package. What the package itself has printed is
// of interest only when it failed: a panic, or what TestMain found.
func (r *report) endPackage(e *event, t test) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.w, "ok    %s %.1fs\n", t.pkg, e.Elapsed)
	case "fail":
		if !r.broken[t.pkg] {
			r.failed++ // none of its tests, but something
		}
		r.unended(t.pkg)
		fmt.Fprintf(r.w, "FAIL  %s %.1fs\n%s", t.pkg, e.Elapsed, r.text(t))
	case "skip":
		fmt.Fprintf(r.w, "-     %s has no tests\n", t.pkg)
	}
}

// unended prints what the tests of a package said that never came to an end. A panic
// or the dump of a timeout is among it.
func (r *report) unended(pkg string) {
	for t, output := range r.output {
		if t.pkg != pkg || t.name == "" {
			continue
		}
		if said := reason(output.String()); said != silent {
			fmt.Fprintf(r.w, "FAIL  %s %s did not end\n%s", t.pkg, t.name, output)
		}
		delete(r.output, t)
	}
}

func (r *report) text(t test) string {
	if b := r.output[t]; b != nil {
		return b.String()
	}
	return ""
}

// silent is the reason of a test that gives none.
const silent = "it does not say why"

// reason is what a skipped test said, on one line, without what go test adds.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if said == nil {
		return silent
	}
	return strings.Join(said, " ")
}

func (r *report) summary(took time.Duration) {
	fmt.Fprintln(r.w)
	for _, s := range r.skips {
		fmt.Fprintln(r.w, s)
	}
	verdict := "ok"
	if r.failed > 0 {
		verdict = "FAILED"
	}
	fmt.Fprintf(r.w, "%s: %d passed, %d failed, %d skipped in %v\n", verdict, r.passed, r.failed, r.skipped, took.Round(time.Second))
}
