package leak

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestCheckPassesWhenNothingIsLeft(t *testing.T) {
	Check(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.Close()
		}
	}()
}

func TestSettleWaits(t *testing.T) {
	before := take()
	release := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	go leftover(release)
	if left := before.settle(patience); left != "" {
		t.Fatalf("a goroutine that ends soon was reported:\n%s", left)
	}
}

func TestSettleReportsGoroutine(t *testing.T) {
	before := take()
	release := make(chan struct{})
	defer close(release)
	go leftover(release)
	if left := before.settle(10 * time.Millisecond); !strings.Contains(left, "leak.leftover") {
		t.Fatalf("settle() = %q, want the stack of leftover", left)
	}
}

func TestSettleReportsFile(t *testing.T) {
	before := take()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if left := before.settle(10 * time.Millisecond); !strings.Contains(left, "pipe:[") {
		t.Fatalf("settle() = %q, want the open pipe", left)
	}
}

// recorder is a testing.TB that keeps its verdict to itself.
type recorder struct {
	testing.TB
	cleanup func()
	failed  string
}

func (r *recorder) Cleanup(f func())               { r.cleanup = f }
func (r *recorder) Errorf(format string, _ ...any) { r.failed = format }

func TestCheckLeavesFailedTestsAlone(t *testing.T) {
	r := &recorder{TB: failedTB{t}}
	Check(r)
	release := make(chan struct{})
	defer close(release)
	go leftover(release)
	r.cleanup()
	if r.failed != "" {
		t.Fatalf("a failed test was checked: %s", r.failed)
	}
}

type failedTB struct{ testing.TB }

func (failedTB) Failed() bool { return true }

func leftover(release <-chan struct{}) { <-release }
