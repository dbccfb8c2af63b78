package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// runCmd is the daemon.
type runCmd struct {
	source
	LogLevel   string        `help:"Least severe events that are logged, to standard error: debug, info, warn or error. Default: info." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" group:"Other:"`
	IdleExit   time.Duration `help:"End after so long without a client connection; a service manager that keeps the sockets starts it again. Default: never." placeholder:"DURATION" group:"Other:"`
	CPUProfile string        `hidden:"" name:"cpu-profile" type:"path" placeholder:"FILE" help:"Write a CPU profile of the whole run."`
}

// Help is the second half of --help.
func (runCmd) Help() string {
	return `SIGTERM and Ctrl-C drain: no new requests, while those under way may finish within
drain.timeout; a second signal cuts them off. SIGHUP reloads the configuration and
the certificates, as mtlsproxyctl reload does; if anything is wrong with them,
nothing changes, and the log says why. SIGUSR2 is a restart under systemd: exchanges
under way may finish within drain.restart_timeout, and idle client connections are
handed to the next process.

Exit codes: 0 ended by a signal, 64 wrong usage, 69 an address cannot be listened
on, 70 internal error, 77 not permitted, 78 wrong configuration. All that is wrong
with the configuration is reported at once.`
}

// Run serves until a signal comes.
func (c *runCmd) Run(w world) (err error) {
	// Two channels, so that many of the one kind cannot displace the other; and before
	// anything else, so that no signal ends a process that has taken the connections of
	// the one before out of the fd store, and that a SIGHUP from now on finds its way.
	// Nothing stops them: a signal that comes as the process ends must not hide the exit
	// code behind its own.
	stop, hangup := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	signal.Notify(hangup, syscall.SIGHUP)
	// Whoever reads the log may go away; that must not end the daemon.
	signal.Ignore(syscall.SIGPIPE)
	passed := sd.Take() // before anything opens files

	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	handler, outlet := w.handler(level)
	defer func() { err = errors.Join(err, outlet.Close()) }()
	events := journal.NewEvents(handler, keptEvents)
	log := slog.New(events)
	manager, strange := sd.New(w.getenv, log)
	watchdog, odd := sd.WatchdogInterval(w.getenv)
	if err := errors.Join(strange, odd); err != nil {
		log.Warn("the environment of the service manager is not understood", "event", journal.NotifyFailing, "error", service.FailureText(err))
	}
	defer func() {
		if journald, ok := outlet.(*journal.Journald); err != nil && ok && journald != nil {
			log.Error("the daemon ends", "event", journal.StartFailed, "error", service.FailureText(err))
			err = quiet{err}
		}
		if err != nil {
			manager.Failed(errno(err), service.FailureText(err))
		}
	}()
	defer service.GiveBack(passed, manager, log) // of a start that fails: else there is nothing left
	s, err := c.service(w, service.Options{
		Log: log, Events: events, Dropped: outlet.Dropped, Level: level,
		Passed: passed, Notify: manager, Watchdog: watchdog, IdleExit: c.IdleExit,
	})
	if err != nil {
		return err
	}
	if c.CPUProfile != "" {
		end, err := profile(c.CPUProfile)
		if err != nil {
			s.Close()
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	return s.Run(stop, hangup)
}

// service makes a service that listens.
func (c *runCmd) service(w world, o service.Options) (*service.Service, error) {
	passed := len(o.Passed.Listeners) > 0
	load := func() (*config.Config, error) { return c.loadComplete(w, passed) }
	conf, err := load()
	if err != nil {
		return nil, err
	}
	o.Config, o.Load, o.File, o.Version, o.Getenv = conf, load, c.file(), describe(), w.getenv
	s, err := service.Build(o)
	if err != nil {
		return nil, err
	}
	if err := s.Listen(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// handler takes events to the journal, or to standard error.
func (w world) handler(level slog.Leveler) (slog.Handler, journal.Outlet) {
	if stderr, ok := w.stderr.(*os.File); ok {
		return journal.NewHandler(stderr, w.getenv, level)
	}
	var none *journal.Journald // nothing waits: it is written at once
	return slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: level}), none
}

// errno is the number that tells the service manager most about an error.
func errno(err error) syscall.Errno {
	switch exitCode(err) {
	case exitConfig:
		return syscall.EINVAL
	case exitPermission:
		return syscall.EACCES
	case exitUnavailable:
		return syscall.EADDRNOTAVAIL
	}
	return 0
}

// keptEvents is how many events are kept in memory, for the admin API.
const keptEvents = 512

func profile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("making the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
