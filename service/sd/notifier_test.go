package sd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTheLifeOfAProcess(t *testing.T) {
	n, m := notified(t)
	n.Status("opening the request log")
	n.Extend(5 * time.Second)
	n.Ready("serving 2 listeners")
	n.Watchdog()
	n.Stopping("draining 7 requests")
	n.Extend(2 * time.Second)
	n.Status("draining 1 request")
	m.want(
		"STATUS=opening the request log",
		"EXTEND_TIMEOUT_USEC=5000000",
		"READY=1\nSTATUS=serving 2 listeners",
		"WATCHDOG=1",
		"STOPPING=1\nSTATUS=draining 7 requests",
		"EXTEND_TIMEOUT_USEC=2000000",
		"STATUS=draining 1 request",
	)
}

func TestAReloadCarriesItsTimeInTheSameDatagram(t *testing.T) {
	n, m := notified(t)
	n.Ready("serving")
	n.Reloading("reading the configuration")
	n.Ready("serving")
	got := m.all()
	if len(got) != 3 || got[2] != "READY=1\nSTATUS=serving" {
		t.Fatalf("told %q", got)
	}
	if !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reading the configuration$`).MatchString(got[1]) {
		t.Errorf("told %q", got[1])
	}
}

func TestAReloadBeforeTheFirstReadyIsPartOfTheStart(t *testing.T) {
	n, m := notified(t)
	n.Reloading("reading the configuration again")
	n.Ready("serving")
	m.want("STATUS=reading the configuration again", "READY=1\nSTATUS=serving")
}

func TestNothingSpeaksOfReadinessAfterTheEndHasBegun(t *testing.T) {
	n, m := notified(t)
	n.Stopping("")
	n.Ready("serving")
	n.Reloading("reloading")
	n.Watchdog()
	n.WatchdogTrigger("watchdog: stuck")
	n.Stopping("")
	m.want("STOPPING=1")
}

func TestWhatIsKnownIsNotTold(t *testing.T) {
	n, m := notified(t)
	n.Ready("serving")
	n.Ready("serving")
	n.Status("serving")
	n.Status("degraded")
	m.want("READY=1\nSTATUS=serving", "STATUS=degraded")
}

func TestTroubleStandsInForTheStatus(t *testing.T) {
	n, m := notified(t)
	n.Ready("serving 1")
	n.Trouble("watchdog: stuck")
	n.Status("serving 2")
	n.Trouble("")
	n.WatchdogTrigger("watchdog: stuck")
	n.Trouble("")
	m.want("READY=1\nSTATUS=serving 1", "STATUS=watchdog: stuck", "STATUS=serving 2",
		"WATCHDOG=trigger\nSTATUS=watchdog: stuck", "STATUS=serving 2")
}

func TestAFailureIsToldWithItsNumber(t *testing.T) {
	n, m := notified(t)
	n.Failed(syscall.EINVAL, "no sockets passed and no address configured")
	m.want("ERRNO=22\nSTATUS=no sockets passed and no address configured")
}

func TestAStatusIsOneLineOfText(t *testing.T) {
	n, m := notified(t)
	n.Status("a\nREADY=1\x1b[2J\u0085\u2028b\xff ")
	m.want("STATUS=a READY=1 [2J  b?")
	n.Status(strings.Repeat("ü", 4000))
	got := m.all()
	if len(got) != 1 || len(got[0]) > maxStatus+len("STATUS=") || !utf8.ValidString(got[0]) || !strings.HasSuffix(got[0], "ü…") {
		t.Errorf("told %.40q… of %d bytes", got, len(strings.Join(got, "")))
	}
}

func TestAnAbstractSocketIsReached(t *testing.T) {
	m := newManager(t, fmt.Sprintf("@mtlsproxy-sd-test-%d", os.Getpid()))
	m.notifier().Ready("")
	m.want("READY=1")
}

func TestWithoutAManagerNobodyIsTold(t *testing.T) {
	n, err := New(func(string) string { return "" }, nil)
	if n != nil || err != nil {
		t.Fatalf("%v, %v", n, err)
	}
	n.Ready("a")
	n.Reloading("b")
	n.Status("c")
	n.Trouble("d")
	n.Extend(time.Second)
	n.Watchdog()
	n.WatchdogTrigger("e")
	n.Failed(1, "f")
	n.Stopping("g")
	if err := errors.Join(n.Unstore(t.Context(), "x"), n.Sync(t.Context())); err != nil {
		t.Error(err)
	}
	if _, err := n.Store(t.Context(), Client{}); !errors.Is(err, ErrNoStore) {
		t.Errorf("error %v", err)
	}
}

func TestASocketOfAnotherKindIsAnError(t *testing.T) {
	_, err := New(func(string) string { return "vsock:2:1234" }, nil)
	if err == nil || !strings.Contains(err.Error(), "vsock:2:1234") {
		t.Errorf("error %v", err)
	}
}

func TestABusyManagerIsToldLaterInTheSameOrder(t *testing.T) {
	n, m := notified(t)
	m.stuff()
	began := time.Now()
	n.Ready("serving")
	n.Reloading("first")
	n.Ready("first done")
	n.Reloading("second")
	n.Ready("second done")
	n.Watchdog()
	n.Stopping("draining")
	if took := time.Since(began); took > 7*sendTimeout+2*time.Second {
		t.Errorf("seven notifications took %v", took)
	}
	n.mu.Lock()
	n.retry.Stop() // or it sends while the test reads
	n.mu.Unlock()
	if got := m.unstuffed(); len(got) != 0 {
		t.Fatalf("told %q", got)
	}
	n.Status("draining 3")
	got := m.unstuffed()
	if len(got) != 4 || got[0] != "READY=1" || !strings.HasPrefix(got[1], "RELOADING=1\nMONOTONIC_USEC=") ||
		got[2] != "READY=1" || got[3] != "STOPPING=1\nSTATUS=draining 3" {
		t.Errorf("told %q", got)
	}
}

func TestABusyManagerIsToldWithoutFurtherCause(t *testing.T) {
	n, m := notified(t)
	m.stuff()
	n.Ready("serving")
	m.unstuffed()
	if d, ok := m.next(10 * time.Second); !ok || d.text != "READY=1\nSTATUS=serving" {
		t.Errorf("told %q", d.text)
	}
}

func TestAManagerThatIsGoneIsLoggedOnce(t *testing.T) {
	n, m := notified(t)
	var log bytes.Buffer
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	m.sock.Close()
	n.Ready("a")
	n.Status("b")
	n.mu.Lock()
	n.retry.Stop() // or it logs while the test reads
	n.mu.Unlock()
	if strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("logged %q", log.String())
	}
}

func TestSyncWaitsUntilEverythingIsTaken(t *testing.T) {
	n, m := notified(t)
	n.Stopping("")
	done := make(chan error, 1)
	go func() { done <- n.Sync(t.Context()) }()
	m.next(10 * time.Second)
	d, _ := m.next(10 * time.Second)
	if d.text != "BARRIER=1" || len(d.files) != 1 {
		t.Fatalf("told %q with %d descriptors", d.text, len(d.files))
	}
	select {
	case err := <-done:
		t.Fatalf("returned %v before the manager was done", err)
	default:
	}
	d.files[0].Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSyncEndsWithItsContext(t *testing.T) {
	n, m := notified(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if d, ok := m.next(time.Second); ok {
		d.files[0].Close()
	}
	m.stuff()
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v with a manager that reads nothing", err)
	}
}
