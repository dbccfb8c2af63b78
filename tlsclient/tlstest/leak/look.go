package leak

import (
	"os"
	"runtime"
	"strings"
)

// bystanders are functions whose goroutines belong to the runtime or the testing package and stay for good.
var bystanders = []string{
	"created by runtime.",
	"created by testing.",
	"created by os/signal.",
	"created by runtime/trace.",
	"testing.Main(",
	"testing.(*M).",
	"testing.(*T).Run(",
	"testing.(*F).Fuzz(",
	"testing.tRunner.",
	"runtime.goexit0(",
	"runtime/pprof.",
	"runtime.ReadTrace(",
	"os/signal.signal_recv(",
}

// goroutines returns the stacks of all goroutines but the calling one and the bystanders, by id.
func goroutines() map[string]string {
	found := map[string]string{}
	// The caller's own stack comes first.
	for _, stack := range strings.Split(stacks(), "\n\n")[1:] {
		header, _, _ := strings.Cut(stack, "\n")
		id, state, ok := strings.Cut(strings.TrimPrefix(header, "goroutine "), " ")
		if !ok || strings.HasPrefix(state, "[dead") || isBystander(stack) {
			continue
		}
		found[id] = strings.TrimSpace(stack)
	}
	return found
}

func isBystander(stack string) bool {
	for _, name := range bystanders {
		if strings.Contains(stack, name) {
			return true
		}
	}
	return false
}

func stacks() string {
	for size := 1 << 16; ; size *= 2 {
		buffer := make([]byte, size)
		if n := runtime.Stack(buffer, true); n < size {
			return string(buffer[:n])
		}
	}
}

// files returns the process's open files. The number is part of the key: a number reused for another socket has
// another target, and one target may be open twice.
func files() map[string]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // no /proc, nothing to compare; goroutines still tell most of the story
	}
	found := map[string]string{}
	for _, entry := range entries {
		target, err := os.Readlink(dir + "/" + entry.Name())
		if err != nil {
			continue // the descriptor that listed the directory
		}
		// The runtime opens its poller at the first use of the network and keeps it, and reads the size of the
		// machine now and then.
		if strings.HasPrefix(target, "anon_inode:[event") || strings.HasPrefix(target, "/sys/fs/cgroup/") {
			continue
		}
		line := entry.Name() + " -> " + target
		found[line] = line
	}
	return found
}
