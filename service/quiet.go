package service

import (
	"context"
	"time"
)

// quiet notices when nobody has been connected for a while.
type quiet struct {
	service *Service
	tick    <-chan time.Time
	ticker  *time.Ticker // nil: nobody wants to know
	since   time.Time
	seen    uint64 // connections that had come by then
}

func (s *Service) newQuiet() *quiet {
	q := &quiet{service: s, since: time.Now()}
	if s.IdleExit > 0 {
		q.ticker = time.NewTicker(max(s.IdleExit/8, 50*time.Millisecond))
		q.tick = q.ticker.C
	}
	return q
}

func (q *quiet) stop() {
	if q.ticker != nil {
		q.ticker.Stop()
	}
}

// over reports whether there has been no connection for as long as is wanted.
func (q *quiet) over(now time.Time) bool {
	var came uint64
	for _, l := range q.service.world.Load().listeners {
		came += l.Accepted()
	}
	if came != q.seen || q.service.front.Connections() > 0 {
		q.seen, q.since = came, now
	}
	return now.Sub(q.since) >= q.service.IdleExit
}

// certainTime is how long the accept loops may take to pause.
const certainTime = time.Second

// certain makes certain that it is over: nobody is accepted any more, and nobody was
// just now. If it is not, accepting goes on.
func (q *quiet) certain() bool {
	ctx, cancel := context.WithTimeout(context.Background(), certainTime)
	defer cancel()
	if err := q.service.front.Pause(ctx); err == nil && q.over(time.Now()) {
		return true
	}
	q.service.front.Resume()
	return false
}
