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
	LogLevel   slog.Level `help:"Least severe events that are logged: debug, info, warn or error." default:"info" group:"Other"`
	CPUProfile string     `hidden:"" name:"cpu-profile" type:"path" placeholder:"FILE" help:"Write a CPU profile of the whole run."`
}

// Run serves until a signal comes.
func (c *runCmd) Run(w world) (err error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	conf, err := c.load(w)
	if err != nil {
		return err
	}
	if len(conf.Routes) == 0 {
		return errors.Join(service.ErrConfig, errNoUpstream)
	}
	log := slog.New(slog.NewTextHandler(w.stderr, &slog.HandlerOptions{Level: c.LogLevel}))
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
