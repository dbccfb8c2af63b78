package sd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	checkTimeout = 2 * time.Second
	checkGrace   = 100 * time.Millisecond // for a check to return when its time is over
	defaultEvery = 10 * time.Second
	triggerAfter = 2 // rounds in a row in which a check failed
)

// Check is one thing without which the daemon does not work. Run returns nil if it
// works, and should return when its context ends. What lies outside the daemon, such
// as an upstream, is none: starting anew would not help it.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Pinger is whom a Supervisor tells: a *Notifier.
type Pinger interface {
	Watchdog()
	WatchdogTrigger(status string)
	Trouble(text string)
}

// Supervisor feeds the watchdog as long as all checks pass. Its fields must be set
// before Run and not be changed after that.
type Supervisor struct {
	Checks []Check
	Notify Pinger
	Log    *slog.Logger

	// Every is the pause between rounds: a third of WatchdogInterval. 0 means 10 s,
	// for a daemon that nobody watches: it still logs what fails.
	Every time.Duration

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	runs   []*run // by check; nil if it does not run
	misses int    // rounds in a row
}

// run is a check under way.
type run struct {
	since time.Time
	done  chan error // capacity 1: a check may end when nobody waits any more
}

// Run checks until ctx ends, at once and then every Every. Checks run beside each
// other, each for 2 s at most. One that does not return is not run again until it
// does, and fails as long.
func (s *Supervisor) Run(ctx context.Context) {
	if s.Every <= 0 {
		s.Every = defaultEvery
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.runs = make([]*run, len(s.Checks))
	due := s.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := s.Now()
		late := now.Sub(due) > s.Every/2
		if late {
			s.Log.Warn("the watchdog's round comes late; the processor is overloaded or the process was stopped", "event", "watchdog_late", "late", now.Sub(due))
		}
		s.round(ctx, late)
		due = now.Add(s.Every)
		timer.Reset(due.Sub(s.Now()))
	}
}

// round runs the checks once and tells the service manager how it went.
func (s *Supervisor) round(ctx context.Context, late bool) {
	failed := s.check(ctx, late)
	if ctx.Err() != nil {
		return // the end has begun
	}
	if len(failed) == 0 {
		if s.misses > 0 {
			s.Log.Info("the watchdog's checks pass again", "event", "watchdog_healed")
			s.Notify.Trouble("")
		}
		s.misses = 0
		s.Notify.Watchdog()
		return
	}
	s.misses++
	status := "watchdog: " + strings.Join(failed, "; ")
	if s.misses < triggerAfter {
		s.Notify.Trouble(status)
		return
	}
	s.Log.Error("the daemon does not recover; asking the service manager to start it anew", "event", "watchdog_gave_up", "misses", s.misses)
	s.Notify.WatchdogTrigger(status)
}

// check runs the checks that do not run still, and says what is wrong with each that
// has failed. In a round that is late, those are excused that have begun in it and
// only not had the time. Once the daemon ends, nothing is said: checks fail for that.
func (s *Supervisor) check(daemon context.Context, late bool) (failed []string) {
	limit := min(checkTimeout, s.Every)
	began := s.Now()
	patience, done := context.WithTimeout(daemon, limit+checkGrace)
	defer done()
	ctx, cancel := context.WithTimeout(daemon, limit)
	defer cancel()
	for i, c := range s.Checks {
		s.start(ctx, i, c)
	}
	for i, c := range s.Checks {
		since := s.runs[i].since
		returned, err := s.result(patience, i)
		if returned && err == nil {
			continue
		}
		if daemon.Err() != nil {
			return nil
		}
		late = late || s.Now().Sub(began) > limit+s.Every/2
		if !returned || errors.Is(err, context.DeadlineExceeded) {
			if late && !since.Before(began) {
				s.Log.Warn("a check of the watchdog is not through", "event", "watchdog_slow", "check", c.Name, "after", s.Now().Sub(since))
				continue
			}
			err = fmt.Errorf("stuck for %v", s.Now().Sub(since).Round(time.Second))
		}
		s.Log.Error("a check of the watchdog failed", "event", "watchdog_failed", "check", c.Name, "error", err)
		failed = append(failed, fmt.Sprintf("%s: %v", c.Name, err))
	}
	return failed
}

func (s *Supervisor) start(ctx context.Context, i int, c Check) {
	if r := s.runs[i]; r != nil && len(r.done) == 0 {
		return // and what one of a round that is over has found is of no use
	}
	r := &run{since: s.Now(), done: make(chan error, 1)}
	s.runs[i] = r
	go func() { r.done <- c.Run(ctx) }()
}

// result returns what check i has returned, if it does so before ctx ends.
func (s *Supervisor) result(ctx context.Context, i int) (returned bool, err error) {
	r := s.runs[i]
	select {
	case err = <-r.done:
	case <-ctx.Done():
		select {
		case err = <-r.done:
		default:
			return false, nil
		}
	}
	s.runs[i] = nil
	return true, err
}
