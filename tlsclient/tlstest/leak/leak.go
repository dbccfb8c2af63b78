// Package leak fails a test that leaves goroutines or open files behind.
//
// It compares what exists at the end with what existed at the start, and waits a while for things to wind down
// before it complains. It knows nothing about who started what, so a checked test must not run beside others:
// [Check] makes the testing package refuse t.Parallel in it (parallel subtests within it are fine).
package leak

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	patience  = 5 * time.Second        // how long leftovers may take to go away by themselves
	firstWait = time.Millisecond       // first pause between two looks; doubled each time …
	lastWait  = 100 * time.Millisecond // … up to this
)

// Check fails tb if goroutines or open files started during the test outlive it and everything registered with
// tb.Cleanup after the call. Call it first. A test that failed already is not checked: it left in a hurry.
func Check(tb testing.TB) {
	tb.Helper()
	// Setenv panics in a parallel test and forbids Parallel later: the only hold that testing offers on either.
	tb.Setenv("LEAK_CHECK", tb.Name())
	before := take()
	tb.Cleanup(func() {
		tb.Helper()
		if tb.Failed() {
			return
		}
		if left := before.settle(patience); left != "" {
			tb.Errorf("still there %v after the test:\n%s", patience, left)
		}
	})
}

// Main runs a package's tests, checks at the end that nothing outlived them all, and exits. Use it as the whole
// body (or the last line) of TestMain.
func Main(m *testing.M) {
	before := take()
	code := m.Run()
	if code == 0 && !fuzzing() {
		if left := before.settle(patience); left != "" {
			fmt.Fprintf(os.Stderr, "still there %v after the last test:\n%s\n", patience, left)
			code = 1
		}
	}
	os.Exit(code) //nolint:forbidigo // TestMain is the main function of a test binary.
}

// fuzzing reports whether the fuzz engine runs; its coordinator keeps workers of its own until the process ends.
func fuzzing() bool {
	f := flag.Lookup("test.fuzz")
	return f != nil && f.Value.String() != ""
}

// A snapshot is what a process holds at one moment.
type snapshot struct {
	goroutines map[string]string // id -> stack
	files      map[string]string // number and target -> the same, for printing
}

func take() snapshot {
	return snapshot{goroutines: goroutines(), files: files()}
}

// settle waits until nothing is left that the snapshot does not hold, and returns a description of the rest.
func (before snapshot) settle(limit time.Duration) string {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		left := before.since(take())
		if left == "" {
			return ""
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-deadline.C:
			pause.Stop()
			return left
		}
	}
}

// since describes what now holds and before did not.
func (before snapshot) since(now snapshot) string {
	var out strings.Builder
	for id, stack := range now.goroutines {
		if _, old := before.goroutines[id]; !old {
			out.WriteString(stack + "\n\n")
		}
	}
	for key, file := range now.files {
		if _, old := before.files[key]; !old {
			out.WriteString("open file " + file + "\n")
		}
	}
	return out.String()
}
