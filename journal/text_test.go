package journal

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// stream is what JOURNAL_STREAM says if f is connected to the journal.
func stream(t *testing.T, f *os.File) string {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}

func line(t *testing.T, r *os.File) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := r.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestEventsGoToTheJournalIfStderrDoes(t *testing.T) {
	f := newFakeJournald(t)
	_, w := pipe(t)
	env := map[string]string{"JOURNAL_STREAM": stream(t, w)}
	h, j := pickHandler(w, func(k string) string { return env[k] }, slog.LevelInfo, f.path, 1)
	defer j.Close()
	slog.New(h).Info("started", EventAttr, Started)
	if got, _ := f.next(); value(got, "MESSAGE_ID") != idStarted {
		t.Errorf("got %v", got)
	}
}

// Without journald, systemd gives a service /dev/null in its place, and no JOURNAL_STREAM.
func TestEventsOfAServiceReachAJournaldThatComesLater(t *testing.T) {
	f := newFakeJournald(t)
	path := f.path
	f.conn.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, env := range []map[string]string{
		{"SYSTEMD_EXEC_PID": "77"}, {"NOTIFY_SOCKET": "/run/systemd/notify"}, {"INVOCATION_ID": "1"},
	} {
		h, j := pickHandler(null, func(k string) string { return env[k] }, slog.LevelInfo, path, 77)
		slog.New(h).Info("started", EventAttr, Started)
		f.listen()
		if got, _ := f.next(); value(got, "MESSAGE_ID") != idStarted {
			t.Errorf("%v: got %v", env, got)
		}
		j.Close()
		f.conn.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	f.listen()
	for _, env := range []map[string]string{{}, {"SYSTEMD_EXEC_PID": "76", "INVOCATION_ID": "1"}} {
		_, outlet := pickHandler(null, func(k string) string { return env[k] }, slog.LevelInfo, path, 77)
		if _, is := outlet.(*Journald); is {
			t.Errorf("%v: what somebody has sent to /dev/null goes to the journal", env)
		}
		outlet.Close()
	}
}

func TestTextSuitsWhatStderrIs(t *testing.T) {
	r, w := pipe(t)
	ours := stream(t, w)
	none := filepath.Join(t.TempDir(), "none")
	plain := "level=WARN msg=\"careful now\" event=degraded error=\"a\\nb\"\n"
	prefixed := "<4>msg=\"careful now\" event=degraded error=\"a\\nb\"\n"
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"a pipe of somebody":                      {nil, plain},
		"the journal's stream, with no socket":    {map[string]string{"JOURNAL_STREAM": ours}, prefixed},
		"another stream is the journal's":         {map[string]string{"JOURNAL_STREAM": "1:2"}, plain},
		"a stream of no meaning":                  {map[string]string{"JOURNAL_STREAM": "x"}, plain},
		"a pipe of systemd":                       {map[string]string{"SYSTEMD_EXEC_PID": "77"}, prefixed},
		"a pipe of somebody whom systemd started": {map[string]string{"SYSTEMD_EXEC_PID": "76"}, plain},
	} {
		h, j := pickHandler(w, func(k string) string { return c.env[k] }, slog.LevelInfo, none, 77)
		defer j.Close()
		if _, ok := j.(*Journald); ok {
			t.Errorf("%s: events go to a journald that is not there", name)
		}
		log := slog.New(h)
		log.Debug("not this")
		log.Warn("careful now", EventAttr, Degraded, "error", "a\nb")
		got := line(t, r)
		if c.want == plain {
			when, rest, _ := strings.Cut(got, " ")
			if !strings.HasPrefix(when, "time=") || rest != plain {
				t.Errorf("%s: %q", name, got)
			}
		} else if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAFileOfSystemdHasPlainText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	env := map[string]string{"SYSTEMD_EXEC_PID": "77", "JOURNAL_STREAM": "1:2"}
	h, outlet := pickHandler(f, func(k string) string { return env[k] }, slog.LevelInfo, JournaldSocket, 77)
	slog.New(h).Info("started")
	outlet.Close()
	if got, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(got), "time=") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPrefixesOfGroupsStayAttributes(t *testing.T) {
	r, w := pipe(t)
	log := slog.New(newPrefixed(w, slog.LevelDebug))
	attrs := []any{"level", slog.LevelInfo, "time", start}
	log.WithGroup("g").Error("x", attrs...)
	if got, want := line(t, r), "<3>msg=x g.level=INFO g.time=2026-05-04T13:00:00.000Z\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	log.Debug("y")
	if got, want := line(t, r), "<7>msg=y\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAReaderThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	leak.Check(t)
	r, w := pipe(t)
	out := OpenText(w)
	log := slog.New(newText(out, slog.LevelInfo))
	const events = maxWaiting + 2000 // more than a pipe and the queue hold
	for i := range events {
		log.Info("an event", "number", i) // would hang here
	}
	dropped := out.Dropped()
	if dropped == 0 {
		t.Error("nothing was dropped")
	}
	closed := make(chan struct{})
	lines := make(chan int)
	var told string
	go func() {
		n := 0
		in := bufio.NewScanner(r)
		for in.Scan() {
			if strings.Contains(in.Text(), "events were dropped") {
				told = in.Text()
				continue
			}
			n++
		}
		lines <- n
	}()
	go func() {
		out.Close()
		close(closed)
	}()
	<-closed
	w.Close()
	if n := <-lines; n != events-int(dropped) {
		t.Errorf("%d lines of %d events, %d dropped", n, events, dropped)
	}
	if !strings.HasPrefix(told, strconv.FormatUint(dropped, 10)+" events were dropped") {
		t.Errorf("it says %q, want %d", told, dropped)
	}
}

func TestCloseDoesNotWaitForAReader(t *testing.T) {
	leak.Check(t)
	r, w := pipe(t)
	out := OpenText(w)
	for range maxWaiting {
		fmt.Fprintln(out, strings.Repeat("x", 100))
	}
	begun := time.Now()
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*closeTime {
		t.Errorf("Close took %v", took)
	}
	r.Close() // ends the write that hangs
}
