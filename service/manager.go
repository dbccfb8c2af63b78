package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/service/watch"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// What is asked of the service manager is bounded: it has others to care for.
const (
	managerTime = 5 * time.Second  // to take connections, or to drop them
	extendEvery = 2 * time.Second  // from the begin of the drain to the end of the process …
	extendBy    = 5 * time.Second  // … but what comes after the drain's budget …
	extendPast  = 10 * time.Second // … is not waited for longer than this
	reportEvery = 5 * time.Second  // how often the status may change
	lookEvery   = time.Second      // how often the upstreams are looked at
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
		if len(s.world.Load().config.Routes) == 0 {
			s.Log.Warn("there is no route yet: every request is answered with 503", "event", journal.Unconfigured, "file", s.File)
		}
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
			text := fmt.Sprintf("%s: %s: %s", h.State, r.Subject, r.Message)
			if more := len(h.Reasons) - 1; more > 0 {
				text += fmt.Sprintf(", and %d more; mtlsproxyctl status tells all", more)
			}
			return text
		}
	}
	text := fmt.Sprintf("serving %d listeners, %d upstreams", len(w.listeners), len(w.upstreams))
	var first *tlsclient.Generation
	for _, m := range w.identities {
		if g := m.Generation(); g != nil && (first == nil || g.Leaf.NotAfter.Before(first.Leaf.NotAfter)) {
			first = g
		}
	}
	if first != nil {
		text += fmt.Sprintf("; certificate of identity %s until %s", first.Identity, first.Leaf.NotAfter.UTC().Format("2006-01-02 15:04 MST"))
	}
	return text
}

// unstore drops the service manager's copies of what was handed over to this process:
// they would keep the connections open after their end.
func (s *Service) unstore(adopted int) {
	gone := 0 // meanwhile: their clients have closed them
	for _, r := range s.Passed.Rejected {
		if r.Gone {
			gone++
		}
	}
	if adopted+gone > 0 {
		s.Log.Info("connections were taken over, but for those that their clients have closed since", "event", journal.TakenOver, "connections", adopted, "closed_by_clients", gone)
	}
	names := s.Passed.Stored()
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	if err := s.Notify.Unstore(ctx, names...); err != nil {
		s.Log.Warn("the service manager keeps copies of what it has passed on", "event", journal.CopiesKept, "error", err)
	}
}

// giveBack hands connections that came from the process before, and that this one has
// not begun to serve, to the next.
func (s *Service) giveBack() { GiveBack(s.Passed, s.Notify, s.Log) }

// GiveBack is for a start that fails: the client connections that were passed go to the
// next process, all else that was passed is closed.
func GiveBack(p *sd.Passed, n *sd.Notifier, log *slog.Logger) {
	count := len(p.Clients)
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	err := p.Return(ctx, n)
	switch {
	case err != nil:
		log.Warn("connections could not be handed on, and were closed", "event", journal.HandOverFailed, "handed_over", 0, "connections", count, "error", err)
	case count > 0 && n != nil:
		log.Info("connections were handed on unserved", "event", journal.HandedOver, "connections", count)
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
	status, look := time.NewTicker(reportEvery), time.NewTicker(lookEvery)
	defer status.Stop()
	defer look.Stop()
	var seen outages
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			seen = s.lookAtUpstreams(seen)
		case <-status.C:
			if s.Notify != nil {
				s.Notify.Status(s.summary())
			}
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
		{Name: "file watcher", Run: func(context.Context) error { return s.watchersMove() }},
		{Name: "request log writer", Run: func(context.Context) error { return s.writerMoves() }},
	}
}

// watchersMove reports an error if a file watcher has not looked for two polls. One
// whose look hangs in the file system is no reason to start anew: it would hang again.
func (s *Service) watchersMove() error {
	longest := max(2*time.Minute, 2*s.world.Load().config.Reload.Poll)
	if w := s.watcher.Load(); w != nil && still(w.State(), longest) {
		return fmt.Errorf("that of the configuration has not looked since %s", w.State().LastLook.UTC().Format(time.RFC3339))
	}
	if w := s.tender.Watched(); still(w, longest) {
		return fmt.Errorf("that of the identities has not looked since %s", w.LastLook.UTC().Format(time.RFC3339))
	}
	return nil
}

// still reports whether a watcher has done nothing for so long.
func still(w watch.State, longest time.Duration) bool {
	return w.Looking.IsZero() && !w.LastLook.IsZero() && time.Since(w.LastLook) > longest
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

// extend asks the service manager for patience from the begin of the drain on. The
// returned function ends that; some seconds after the budget it ends by itself, so that
// a process that hangs is killed.
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
				if now.After(until.Add(extendPast)) {
					return
				}
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
	by   map[net.Conn]*front.Listener
}

// keepClient takes over an idle connection for the next process, if there is somebody
// who would pass it on.
func (s *Service) keepClient(l *front.Listener, c net.Conn) bool {
	if s.Notify == nil {
		return false
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	if s.kept.by == nil {
		s.kept.by = make(map[net.Conn]*front.Listener)
	}
	s.kept.list = append(s.kept.list, sd.Client{Listener: l.Name(), Conn: c})
	s.kept.by[c] = l
	return true
}

// sacrificed is how many connections are closed to hand over the others if there is no
// descriptor left to do it with: a socket and a pipe to the manager, and the parcel.
const sacrificed = 8

// handOver gives the connections that were kept to the service manager, and ends those
// that it does not take.
func (s *Service) handOver() {
	s.kept.mu.Lock()
	list, by := s.kept.list, s.kept.by
	s.kept.list, s.kept.by = nil, nil
	s.kept.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), managerTime)
	defer cancel()
	left, err := s.Notify.Store(ctx, list...)
	dismissed := 0
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		dismissed = min(len(left), sacrificed)
		s.dismiss(left[:dismissed], by)
		left, err = s.Notify.Store(ctx, left[dismissed:]...)
	}
	given := len(list) - len(left) - dismissed
	switch {
	case len(left)+dismissed > 0:
		s.Log.Warn("not every connection could be handed over; the others are closed after their exchange", "event", journal.HandOverFailed, "handed_over", given, "connections", len(list), "error", err)
	case len(list) > 0:
		s.Log.Info("connections were handed over", "event", journal.HandedOver, "connections", given)
	}
	s.dismiss(left, by)
	for c := range by { // what is left was given to the manager, whose copy is what counts
		_ = c.Close()
	}
	if err := s.Notify.Sync(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		s.Log.Debug("the service manager did not answer", "error", err)
	}
}

// dismissTime is how long requests may take that had come in on connections that
// nobody takes.
const dismissTime = 3 * time.Second

// dismiss ends connections that were kept, and takes them out of by. What has come in on
// them is answered first.
func (s *Service) dismiss(list []sd.Client, by map[net.Conn]*front.Listener) {
	if len(list) == 0 {
		return
	}
	for _, c := range list {
		s.front.Dismiss(by[c.Conn], c.Conn)
		delete(by, c.Conn)
	}
	s.waitOrCut(dismissTime)
}

// FailureText is what the service manager is told of an error that ends the daemon.
func FailureText(err error) string { return strings.Join(Lines(err), "; ") }
