package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/mtlsproxy/mtlsproxy/service"
)

// runCmd is the daemon.
type runCmd struct {
	source
	LogLevel   string `help:"Least severe events that are logged, to standard error: debug, info, warn or error. Default: info." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" group:"Other:"`
	CPUProfile string `hidden:"" name:"cpu-profile" type:"path" placeholder:"FILE" help:"Write a CPU profile of the whole run."`
}

// Help is the second half of --help.
func (runCmd) Help() string {
	return `SIGTERM and Ctrl-C drain: no new requests, while those under way may finish within
drain.timeout; a second signal cuts them off. SIGHUP changes nothing: a new
configuration and new certificates need a restart.

Exit codes: 0 ended by a signal, 64 wrong usage, 69 an address cannot be listened
on, 70 internal error, 77 not permitted, 78 wrong configuration. All that is wrong
with the configuration is reported at once.`
}

// Run serves until a signal comes.
func (c *runCmd) Run(w world) (err error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	// Whoever reads the log may go away; that must not end the daemon.
	signal.Ignore(syscall.SIGPIPE)

	conf, err := c.load(w)
	if err != nil {
		return err
	}
	if err := complete(conf); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: level}))
	defer outliveHangup(log)()
	s, err := service.Build(conf, log)
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		s.Close()
		return err
	}
	if c.CPUProfile != "" {
		stop, err := profile(c.CPUProfile)
		if err != nil {
			s.Close()
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	return s.Run(signals)
}

// outliveHangup keeps SIGHUP, which asks many daemons to reload, from ending this
// one. The returned function undoes it.
func outliveHangup(log *slog.Logger) (undo func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			log.Warn("SIGHUP changes nothing: this version cannot reload; restart it instead")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

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
