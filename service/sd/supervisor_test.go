package sd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// told keeps what a Supervisor tells, and when.
type told struct {
	mu    sync.Mutex
	began time.Time
	lines []string
}

func (r *told) say(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, time.Since(r.began).String()+" "+s)
}
func (r *told) Watchdog()                { r.say("ping") }
func (r *told) WatchdogTrigger(s string) { r.say("trigger " + s) }
func (r *told) Trouble(s string)         { r.say("trouble " + s) }

// supervised runs a Supervisor for a time and returns what it told and logged.
func supervised(t *testing.T, s *Supervisor, long time.Duration) (lines []string, log string) {
	t.Helper()
	r := &told{began: time.Now()}
	var text bytes.Buffer
	s.Notify, s.Log = r, slog.New(slog.NewTextHandler(&text, nil))
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	s.Run(ctx)
	return r.lines, text.String()
}

func passes(context.Context) error { return nil }

// until is a check that does not return before stop is closed, whatever its context.
func until(stop chan struct{}) func(context.Context) error {
	return func(context.Context) error {
		<-stop
		return nil
	}
}

func TestAHealthyDaemonPingsAtOnceAndThenRegularly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, log := supervised(t, &Supervisor{Checks: []Check{{"a", passes}, {"b", passes}}}, 25*time.Second)
		if want := []string{"0s ping", "10s ping", "20s ping"}; !slices.Equal(lines, want) || log != "" {
			t.Errorf("told %q, logged %q", lines, log)
		}
	})
}

func TestASecondMissInARowTriggers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		flaky := Check{"request-log writer", func(context.Context) error {
			if n++; n == 2 || n == 4 || n == 5 {
				return errors.New("no progress")
			}
			return nil
		}}
		lines, log := supervised(t, &Supervisor{Checks: []Check{{"pool", passes}, flaky}}, 55*time.Second)
		want := []string{
			"0s ping", "10s trouble watchdog: request-log writer: no progress",
			"20s trouble ", "20s ping", "30s trouble watchdog: request-log writer: no progress",
			"40s trigger watchdog: request-log writer: no progress", "50s trouble ", "50s ping",
		}
		if !slices.Equal(lines, want) {
			t.Errorf("told\n%q, want\n%q", lines, want)
		}
		if strings.Count(log, `check="request-log writer" error="no progress"`) != 3 {
			t.Errorf("logged %s", log)
		}
	})
}

func TestACheckThatNeverReturnsHoldsUpNobodyAndRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		var stuck, other atomic.Int64
		s := &Supervisor{Checks: []Check{
			{"accept loop http", func(ctx context.Context) error { stuck.Add(1); return until(stop)(ctx) }},
			{"pool", func(context.Context) error { other.Add(1); return nil }},
		}}
		lines, _ := supervised(t, s, 29*time.Second)
		want := []string{
			"2.1s trouble watchdog: accept loop http: stuck for 2s",
			"12.1s trigger watchdog: accept loop http: stuck for 12s",
			"22.1s trigger watchdog: accept loop http: stuck for 22s",
		}
		if !slices.Equal(lines, want) || stuck.Load() != 1 || other.Load() != 3 {
			t.Errorf("told\n%q, want\n%q; the one ran %d times, the other %d", lines, want, stuck.Load(), other.Load())
		}
	})
}

func TestChecksRunBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(context.Context) error {
			time.Sleep(1500 * time.Millisecond)
			return nil
		}
		lines, _ := supervised(t, &Supervisor{Checks: []Check{{"a", slow}, {"b", slow}, {"c", slow}}}, 5*time.Second)
		if want := []string{"1.5s ping"}; !slices.Equal(lines, want) {
			t.Errorf("told %q", lines)
		}
	})
}

func TestAStuckCheckThatComesBackIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(stop) })
		lines, _ := supervised(t, &Supervisor{Checks: []Check{{"a", until(stop)}}}, 15*time.Second)
		if want := []string{"2.1s trouble watchdog: a: stuck for 2s", "10s trouble ", "10s ping"}; !slices.Equal(lines, want) {
			t.Errorf("told %q", lines)
		}
	})
}

func TestALateRoundIsLoggedAndStillPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var skew atomic.Int64
		s := &Supervisor{Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }}
		s.Checks = []Check{{"a", passes}}
		time.AfterFunc(5*time.Second, func() { skew.Store(int64(6 * time.Second)) }) // the process stood still
		lines, log := supervised(t, s, 15*time.Second)
		if want := []string{"0s ping", "10s ping"}; !slices.Equal(lines, want) || strings.Count(log, "late=6s") != 1 {
			t.Errorf("told %q, logged %q", lines, log)
		}
	})
}

func TestALateRoundExcusesWhatHadNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		var skew atomic.Int64
		s := &Supervisor{Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }}
		s.Checks = []Check{{"a", func(ctx context.Context) error {
			if skew.Load() > 0 {
				<-stop
			}
			return nil
		}}}
		time.AfterFunc(5*time.Second, func() { skew.Store(int64(6 * time.Second)) })
		lines, _ := supervised(t, s, 25*time.Second)
		if want := []string{"0s ping", "12.1s ping", "22.1s trouble watchdog: a: stuck for 12s"}; !slices.Equal(lines, want) {
			t.Errorf("told %q", lines)
		}
	})
}

func TestTheEndOfTheDaemonInTheMidstOfARoundIsNoFailureAndNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		defer close(stop)
		obeys := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		complains := func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("something does not move")
		}
		lines, log := supervised(t, &Supervisor{Checks: []Check{{"a", obeys}, {"b", until(stop)}, {"c", complains}}}, time.Second)
		if len(lines) > 0 || log != "" {
			t.Errorf("told %q, logged %q", lines, log)
		}
	})
}

func TestAShortIntervalShortensTheChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		obeys := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		lines, _ := supervised(t, &Supervisor{Every: time.Second, Checks: []Check{{"a", obeys}}}, 2500*time.Millisecond)
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "1s trouble watchdog: a: stuck for 1s") {
			t.Errorf("told %q", lines)
		}
	})
}
