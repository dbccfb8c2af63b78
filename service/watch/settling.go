package watch

import "time"

// settling is the wait for things to calm down: a while after the last event,
// and not for ever after the first.
type settling struct {
	timer  *time.Timer
	quiet  time.Duration
	most   time.Duration
	first  time.Time // of the events that are waited out; zero if there are none
	expiry time.Time
}

func newSettling(quiet, most time.Duration) *settling {
	s := &settling{timer: time.NewTimer(time.Hour), quiet: quiet, most: most}
	s.timer.Stop()
	return s
}

// touch puts the end off, as far as it goes.
func (s *settling) touch() {
	now := time.Now()
	if s.first.IsZero() {
		s.first, s.expiry = now, now.Add(s.most)
	}
	s.timer.Reset(min(s.quiet, s.expiry.Sub(now)))
}

// again waits once more and reports whether there was time left for it.
func (s *settling) again() bool {
	if s.first.IsZero() || !time.Now().Before(s.expiry) {
		return false
	}
	s.touch()
	return true
}

func (s *settling) done() { s.first = time.Time{} }
