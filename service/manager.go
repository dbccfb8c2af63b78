package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// What is asked of the service manager is bounded: it has others to care for.
const (
	managerTime = 5 * time.Second // to take connections, or to drop them
	extendEvery = 2 * time.Second // while the drain goes on
	extendBy    = 5 * time.Second
	reportEvery = 5 * time.Second // how often the status may change
)

// sortPassed closes what was passed to the process and nobody asked for, and says so.
func (s *Service) sortPassed(c *config.Config) {
	names := []string{sd.HTTP, sd.Admin}
	for _, l := range c.Listeners {
		names = append(names, l.Name)
	}
	for _, r := range c.Routes {
		names = append(names, r.Listeners...)
	}
	s.Passed.Keep(names...)
	if s.Passed.Note != "" {
		s.Log.Warn("passed descriptors were not taken", "event", "descriptor_ignored", "name", "", "error", s.Passed.Note)
	}
	for _, r := range s.Passed.Rejected {
		if !r.Gone {
			s.Log.Warn("a passed descriptor is not served", "event", "descriptor_ignored", "name", r.Name, "what", r.What, "error", r.Why)
		}
	}
	for _, l := range s.Passed.Listeners {
		if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			s.Log.Warn("a passed socket can be reached from other hosts: it takes plain HTTP, and lends the identity to whoever reaches it", "event", "listener_exposed", "listener", l.Name, "address", a.String())
		}
	}
}

// announce tells the service manager of a new phase.
func (s *Service) announce(p Phase) {
	switch p {
	case Running:
		s.Notify.Ready(s.summary())
	case Reloading:
		s.Notify.Reloading("reloading the configuration")
	case Draining:
		s.Notify.Stopping(fmt.Sprintf("draining %d connections", s.front.Connections()))
	case Starting, Stopping:
	}
}

// summary says in one line how the daemon fares.
func (s *Service) summary() string {
	w := s.world.Load()
	h := backend{s}.Health()
	for _, r := range h.Reasons {
		if r.State == h.State {
			return fmt.Sprintf("%s: %s: %s", h.State, r.Subject, r.Message)
		}
	}
	text := fmt.Sprintf("serving %d listeners, %d upstreams", len(w.listeners), len(w.upstreams))
	var first *identity
	for _, id := range w.identities {
		if first == nil || id.generation.Leaf.NotAfter.Before(first.generation.Leaf.NotAfter) {
			first = id
		}
	}
	if first != nil {
		text += fmt.Sprintf("; certificate of identity %s until %s", first.config.Name, first.generation.Leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	}
	return text
}

// unstore drops the service manager's copies of what was handed over to this process:
// they would keep the connections open after their end.
func (s *Service) unstore() {
	names := s.Passed.Stored()
	if len(names) == 0 {
		return
	}
	s.Log.Info("connections were taken over", "event", journal.TakenOver, "connections", s.front.Connections())
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	if err := s.Notify.Unstore(ctx, names...); err != nil {
		s.Log.Warn("the service manager keeps copies of connections", "error", err)
	}
}

// watchOver feeds the watchdog as long as everything that the daemon itself is made of
// moves, and keeps the status up to date. The returned function ends it.
func (s *Service) watchOver() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	supervisor := &sd.Supervisor{Checks: s.checks(), Notify: s.Notify, Log: s.Log, Every: s.Watchdog / 3}
	running.Go(func() { supervisor.Run(ctx) })
	running.Go(func() { s.report(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func (s *Service) report(ctx context.Context) {
	if s.Notify == nil {
		return
	}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Notify.Status(s.summary())
		}
	}
}

// checks are what the watchdog is fed for. Upstreams that do not answer, a full disk
// and expired certificates are none of them: a restart would not help.
func (s *Service) checks() []sd.Check {
	return []sd.Check{
		{Name: "accept loops", Run: func(ctx context.Context) error {
			var errs []error
			for _, p := range s.world.Load().listeners {
				errs = append(errs, p.Probe(ctx))
			}
			return errors.Join(errs...)
		}},
		{Name: "connection pools", Run: func(context.Context) error {
			for _, u := range s.world.Load().upstreams {
				u.client.State() // it returns when the pool's lock is free
			}
			return nil
		}},
		{Name: "client connections", Run: func(context.Context) error {
			s.front.Connections() // likewise
			return nil
		}},
		{Name: "file watcher", Run: func(context.Context) error { return s.watcherMoves() }},
		{Name: "request log writer", Run: func(context.Context) error { return s.writerMoves() }},
	}
}

// watcherMoves reports an error if the file watcher has not looked for two polls.
func (s *Service) watcherMoves() error {
	const longest = 2 * time.Minute
	w := s.watcher.Load()
	if w == nil {
		return nil
	}
	if last := w.State().LastLook; time.Since(last) > longest {
		return fmt.Errorf("it has not looked since %s", last.UTC().Format(time.RFC3339))
	}
	return nil
}

// writerMoves reports an error if records wait for long and nobody knows why. A disk
// that is full, or does not answer, is known.
func (s *Service) writerMoves() error {
	const longest = 30 * time.Second
	if stats := (backend{s}).LogStats(); stats.Error == "" && stats.Lag > longest.Seconds() {
		return fmt.Errorf("the oldest record has waited for %.0f s", stats.Lag)
	}
	return nil
}

// extend asks the service manager for patience as long as the drain goes on. The
// returned function ends that.
func (s *Service) extend(budget time.Duration) (end func()) {
	if s.Notify == nil {
		return func() {}
	}
	s.Notify.Extend(extendBy)
	done := make(chan struct{})
	until := time.Now().Add(budget)
	go func() {
		tick := time.NewTicker(extendEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				s.Notify.Extend(extendBy)
				s.Notify.Status(fmt.Sprintf("draining %d connections, %v left", s.front.Connections(), max(0, until.Sub(now)).Round(time.Second)))
			}
		}
	}()
	return func() { close(done) }
}

// clients are the connections that the next process is to serve.
type clients struct {
	mu   sync.Mutex
	list []sd.Client
}

// keepClient takes over an idle connection for the next process, if there is somebody
// who would pass it on.
func (s *Service) keepClient(listener string, c net.Conn) bool {
	if s.Notify == nil {
		return false
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	s.kept.list = append(s.kept.list, sd.Client{Listener: listener, Conn: c})
	return true
}

// handOver gives the connections that were kept to the service manager, and closes
// those that it does not take: they are between two exchanges.
func (s *Service) handOver() {
	s.kept.mu.Lock()
	list := s.kept.list
	s.kept.list = nil
	s.kept.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	if len(list) > 0 {
		n, err := s.Notify.Store(ctx, list...)
		if err != nil {
			s.Log.Warn("not every connection could be handed over; the others are closed", "handed_over", n, "connections", len(list), "error", err)
		} else {
			s.Log.Info("connections were handed over", "event", "handed_over", "connections", n)
		}
	}
	for _, c := range list {
		_ = c.Close() // our copy; the manager's, if it has one, is what counts
	}
	if err := s.Notify.Sync(ctx); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Log.Debug("the service manager did not answer", "error", err)
	}
}

// FailureText is what the service manager is told of an error that ends the daemon.
func FailureText(err error) string { return strings.Join(Lines(err), "; ") }
