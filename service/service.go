package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/admin"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/service/watch"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// ErrConfig marks errors that only another configuration, or other files it
// names, can mend.
var ErrConfig = errors.New("configuration error")

// ErrListen marks errors of opening a listener.
var ErrListen = errors.New("no listener")

// Options are what a Service is made of.
type Options struct {
	Config  *config.Config
	Load    func() (*config.Config, error) // reads the configuration anew; nil: it cannot be reloaded
	File    string                         // the main configuration file, for status; "" for none
	Version string
	Log     *slog.Logger
	Events  *journal.Events     // keeps what Log is given; nil: nothing is kept
	Dropped func() uint64       // events that Log has lost; nil: none
	Level   *slog.LevelVar      // of Log; nil: it cannot be changed
	Getenv  func(string) string // nil: os.Getenv

	Passed   *sd.Passed    // by the service manager; nil: nothing
	Notify   *sd.Notifier  // the service manager; nil: there is none
	Watchdog time.Duration // within which the service manager wants to hear from us; 0: never
	Strict   bool          // that an identity cannot be used is an error of Build
	IdleExit time.Duration // end after so long without a client connection; 0: never
}

// Service is the daemon. Make one with Build.
type Service struct {
	Options
	started time.Time
	phase   phases
	diag    caller.Diag
	buffers rawconn.Buffers
	front   *front.Server
	proxy   *proxy.Proxy
	admin   *admin.Server
	metrics *admin.MetricsServer
	meters  meters
	bounds  bounds
	serving sync.WaitGroup

	world    atomic.Pointer[world]
	orders   sync.Mutex // by hand, to upstreams of the world
	logs     logs
	disk     disk
	history  history
	watcher  atomic.Pointer[watch.Watcher] // of the configuration; nil: it is not watched
	tender   identity.Tender
	outgoing outgoing
	kept     clients // for the next process

	reloads    chan reloading
	tasks      chan func()   // to be done between reloads
	committing sync.Mutex    // of a reload; it excludes the begin of the end
	under      chan struct{} // closed with the end of the task that is under way; nil: none is. For attend, and after it
	leaving    chan struct{} // closed when the end begins
	failed     chan error    // from accept loops
	retired    sync.WaitGroup
	settled    chan struct{} // closed when nobody looks for a route in what was retired last
	ending     chan struct{} // closed by Close
	end        sync.Once
	closing    sync.Mutex
}

// Build makes a service: it loads the identities and settles the routes. It opens
// no listener and writes no file. Close ends a service that is not run.
func Build(o Options) (*Service, error) {
	s := &Service{
		Options: o, started: time.Now(), reloads: make(chan reloading, 1), tasks: make(chan func()), failed: make(chan error, 1),
		leaving: make(chan struct{}), ending: make(chan struct{}), settled: make(chan struct{}),
	}
	close(s.settled) // there is nothing yet
	if s.Getenv == nil {
		s.Getenv = os.Getenv
	}
	if s.Level == nil {
		s.Level = new(slog.LevelVar)
	}
	if s.Events == nil {
		s.Events = journal.NewEvents(slog.DiscardHandler, 1)
	}
	if s.Passed == nil {
		s.Passed = new(sd.Passed)
	}
	s.phase.log, s.phase.tell = s.Log, s.announce
	s.tender.Try, s.tender.Log = s.rotate, s.Log
	s.meters.init()
	s.bounds.init()
	s.proxy = proxy.New(proxy.Options{Buffers: &s.buffers, Log: s.Log, Unrouted: s.meters.unrouted, File: o.File})
	s.front = &front.Server{
		Handler: s.proxy.Serve,
		Buffers: &s.buffers,
		Log:     s.Log,
		Reading: s.diag.Reading,
		Who:     s.who,
		Hand:    s.keepClient,

		Identify: s.diag.Of,
		Seats:    seats{s.bounds.connections},
		Memory:   s.bounds.memory,
	}
	s.admin = s.newAdmin()
	s.metrics = s.newMetrics()
	s.sortPassed(o.Config)
	empty := new(world)
	w, err := s.build(o.Config, empty)
	if err != nil {
		s.diag.Close()
		return nil, errors.Join(ErrConfig, err)
	}
	s.adopt(w, empty)
	return s, nil
}

// who is the uid behind a client connection.
func (s *Service) who(c net.Conn) int64 {
	uid, err := s.diag.UID(c)
	if err != nil {
		return front.NoCaller
	}
	return int64(uid)
}

// Close ends everything that Build and Listen have begun.
func (s *Service) Close() {
	s.closing.Lock() // Run closes too
	defer s.closing.Unlock()
	s.end.Do(func() { close(s.ending) })
	w := s.world.Load()
	w.unstage(new(world))
	w.close()
	s.retired.Wait()
	s.logs.close()
	s.giveBack()
	s.diag.Close()
}

// Addresses returns where the service listens, once Listen has returned.
func (s *Service) Addresses() []net.Addr {
	var out []net.Addr
	for _, l := range s.world.Load().listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Listen opens the listeners of the configuration, all of them or none, the admin
// socket and the request log.
func (s *Service) Listen() error {
	w := s.world.Load()
	if err := s.listen(w, new(world)); err != nil {
		return err
	}
	s.record(w)
	w.nameListeners()
	return nil
}

// Run serves until a signal comes by stop, then drains; for SIGUSR2, which asks for a
// restart, it hands idle connections to the next process. A second signal ends at once
// what is still on its way. What comes by hangup reloads. Listen must have succeeded.
func (s *Service) Run(stop, hangup <-chan os.Signal) error {
	patience := func() {}
	defer func() { patience() }()
	defer s.within(closeTime, "closing", s.Close)
	w := s.world.Load()
	s.tender.Start()
	s.serve(w, new(world))
	adopted := s.adoptClients(w)
	s.phase.enter(Running, "listeners", s.describe(), "upstreams", len(w.upstreams), "routes", len(w.config.Routes), "event", journal.Started)
	s.unstore(adopted)
	watched := s.watchOver()
	restart, err := s.attend(stop, hangup)
	patience = s.extend(s.drainBudget(restart))
	// A file system that does not answer holds the watchers, but not the drain.
	tended := make(chan struct{})
	go func() {
		s.stopWatching()
		s.tender.Close()
		watched()
		close(tended)
	}()
	s.drain(stop, restart)
	s.handOver()
	s.phase.enter(Stopping, "event", journal.Stopped)
	s.within(endTime, "ending the admin API, the watchers and changes of identities", func() {
		s.stopOperating()
		s.serving.Wait()
		<-tended
		if s.under != nil {
			<-s.under // a commit must not be left half done
		}
	})
	return err
}

// What comes after the drain has its time as well: a disk, or a bug, must not keep the
// process from ending.
const (
	endTime   = 5 * time.Second
	closeTime = 8 * time.Second // the request log takes 5 s of it at most
	cutTime   = 2 * time.Second // for connections to end whose sockets are closed
)

// within calls do and waits for its end, but not longer than d.
func (s *Service) within(d time.Duration, what string, do func()) {
	done := make(chan struct{})
	go func() {
		do()
		close(done)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.Log.Error("something does not end; the process ends without it", "event", "degraded", "error", fmt.Sprintf("%s has taken more than %v", what, d))
	}
}

// attend does what is asked of a running daemon, until it is to end. A reload that
// takes long, or never ends, does not keep it from ending.
func (s *Service) attend(stop, hangup <-chan os.Signal) (restart bool, err error) {
	var under chan struct{} // closed with the end of what is under way
	begin := func(f func()) chan struct{} {
		done := make(chan struct{})
		under = done
		go func() {
			f()
			close(done)
		}()
		return done
	}
	quiet := s.newQuiet()
	defer quiet.stop()
	for {
		hangup, reloads, tasks := hangup, s.reloads, s.tasks
		if under != nil { // one at a time; more wait in their channels
			hangup, reloads, tasks = nil, nil, nil
		}
		select {
		case <-under:
			under, s.under = nil, nil
		case <-hangup:
			begin(func() { s.reload(reloading{by: "signal"}) })
		case r := <-reloads:
			begin(func() { s.reload(r) })
		case f := <-tasks:
			s.under = begin(f)
		case sig := <-stop:
			restart = sig == syscall.SIGUSR2
			s.leave("signal", sig.String(), "connections", s.front.Connections(), "budget", s.drainBudget(restart))
			return restart, nil
		case now := <-quiet.tick:
			if quiet.over(now) && quiet.certain() {
				s.leave("idle", s.IdleExit, "connections", 0, "budget", s.drainBudget(false))
				return false, nil
			}
		case err := <-s.failed:
			// The service manager will start it again.
			s.leave("error", err, "connections", s.front.Connections(), "budget", s.drainBudget(true))
			return true, err
		}
	}
}

// leave begins the end. A reload that has not taken over by now will not.
func (s *Service) leave(why ...any) {
	s.committing.Lock()
	defer s.committing.Unlock()
	close(s.leaving)
	s.phase.enter(Draining, append(why, "event", journal.Draining)...)
}

func (s *Service) hasLeft() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return false
	}
}

func (s *Service) describe() []string {
	var out []string
	for _, a := range s.Addresses() {
		out = append(out, a.String())
	}
	return out
}

func (s *Service) drainBudget(restart bool) time.Duration {
	d := &s.world.Load().config.Drain
	if restart {
		return d.RestartTimeout
	}
	return d.Timeout
}

// noticeTime is how long before the end of the drain budget exchanges are told to
// end, at least: those that wait for their upstream look up twice a second.
const noticeTime = time.Second

// drain lets exchanges finish. When a fifth of the budget is left they are told
// to end, which leaves time to answer; at its end, or with the next signal, they
// are cut off.
func (s *Service) drain(stop <-chan os.Signal, restart bool) {
	budget := s.drainBudget(restart)
	if restart {
		s.front.Leave()
	} else {
		s.front.Drain()
	}
	ctx, cancel := context.WithTimeout(context.Background(), budget)
	defer cancel()
	tell := time.AfterFunc(budget-max(budget/5, noticeTime), s.front.Cancel)
	defer tell.Stop()
	drained := make(chan error, 1)
	go func() { drained <- s.front.Wait(ctx) }()
	select {
	case err := <-drained:
		if err == nil {
			return
		}
		s.Log.Warn("drain budget is used up; cutting connections", "event", "drain_cut", "connections", s.front.Connections())
	case sig := <-stop:
		s.Log.Warn("second signal; cutting connections", "event", "drain_cut", "signal", sig.String(), "connections", s.front.Connections())
	}
	s.waitOrCut(0)
}

// waitOrCut lets the connections end for d, then cuts off what is left.
func (s *Service) waitOrCut(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if s.front.Wait(ctx) == nil {
		return
	}
	s.front.Cut()
	ctx, cancel = context.WithTimeout(context.Background(), cutTime)
	defer cancel()
	if err := s.front.Wait(ctx); err != nil { // their sockets are closed: they should end at once
		s.Log.Error("exchanges that were cut off do not end; this is a bug", "event", "bug", "panic", "", "stack", "", "connections", s.front.Connections(), "error", err)
	}
}
