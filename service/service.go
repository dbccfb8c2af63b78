package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// ErrConfig marks errors that only another configuration, or other files it
// names, can mend.
var ErrConfig = errors.New("configuration error")

// ErrListen marks errors of opening a listener.
var ErrListen = errors.New("no listener")

// Service is the daemon. Make one with Build.
type Service struct {
	log       *slog.Logger
	config    *config.Config
	phase     phases
	upstreams map[string]*upstream
	front     *front.Server
	proxy     *proxy.Proxy
	listeners []*front.Listener
	serving   sync.WaitGroup
}

// upstream is a running upstream and what it was made from.
type upstream struct {
	config config.Upstream
	client *tlsclient.Upstream
}

// Build makes a service from c: it loads the identities and settles the routes.
// It opens no listener. Close ends a service that is not run.
func Build(c *config.Config, log *slog.Logger) (*Service, error) {
	generations, err := loadIdentities(c, time.Now())
	if err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	buffers := new(rawconn.Buffers)
	s := &Service{log: log, config: c, upstreams: make(map[string]*upstream), phase: phases{log: log}}
	s.proxy = proxy.New(proxy.Options{Buffers: buffers, Log: log})
	s.front = &front.Server{
		Handler: s.proxy.Serve,
		Limits:  frontLimits(&c.Limits),
		Buffers: buffers,
		Log:     log,
		Reading: caller.Reading,
	}
	for _, u := range c.Upstreams {
		o, err := upstreamOptions(&u, &c.Limits, buffers)
		if err != nil {
			s.Close()
			return nil, errors.Join(ErrConfig, err)
		}
		client := tlsclient.NewUpstream(o)
		client.Use(generations[u.Identity])
		s.upstreams[u.Name] = &upstream{config: u, client: client}
	}
	table, err := s.routes(c)
	if err != nil {
		s.Close()
		return nil, errors.Join(ErrConfig, err)
	}
	s.proxy.Use(table)
	return s, nil
}

// Close ends the upstreams and gives up the listeners.
func (s *Service) Close() {
	for _, l := range s.listeners {
		_ = l.Close() // closed already after a run
	}
	for _, u := range s.upstreams {
		u.client.Close()
	}
}

// Addresses returns where the service listens, once Listen has returned.
func (s *Service) Addresses() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Listen opens the listeners of the configuration: all of them or none.
func (s *Service) Listen() error {
	var errs []error
	for _, l := range s.config.Listeners {
		for _, a := range l.Addresses {
			opened, err := open(a, l.Mode)
			if err != nil {
				errs = append(errs, fmt.Errorf("listener %q: %w", l.Name, err))
				continue
			}
			s.listeners = append(s.listeners, &front.Listener{Name: l.Name, Listener: opened})
		}
	}
	if len(s.listeners) == 0 && len(errs) == 0 {
		return fmt.Errorf("%w: there is no listener; write [listener.http] address = \"127.0.0.1:8980\" into the configuration, or give --listen", ErrConfig)
	}
	if len(errs) == 0 {
		return nil
	}
	for _, l := range s.listeners {
		_ = l.Close() // nothing was accepted on it
	}
	s.listeners = nil
	return fmt.Errorf("%w: %w", ErrListen, errors.Join(errs...))
}

// Run serves until a signal comes, then drains. A second signal ends at once what
// is still on its way. Listen must have succeeded.
func (s *Service) Run(signals <-chan os.Signal) error {
	defer s.Close()
	failed := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		s.serving.Go(func() {
			if err := s.front.Serve(l); err != nil {
				failed <- err
			}
		})
	}
	s.phase.enter(Running, "listeners", s.describe(), "upstreams", len(s.upstreams), "routes", len(s.config.Routes))
	var err error
	select {
	case sig := <-signals:
		s.phase.enter(Draining, "signal", sig.String(), "connections", s.front.Connections(), "budget", s.config.Drain.Timeout)
	case err = <-failed:
		s.phase.enter(Draining, "error", err)
	}
	s.drain(signals)
	s.phase.enter(Stopping)
	s.serving.Wait()
	return err
}

func (s *Service) describe() []string {
	var out []string
	for _, a := range s.Addresses() {
		out = append(out, a.String())
	}
	return out
}

// noticeTime is how long before the end of the drain budget exchanges are told to
// end, at least: those that wait for their upstream look up twice a second.
const noticeTime = time.Second

// drain lets exchanges finish. When a fifth of the budget is left they are told
// to end, which leaves time to answer; at its end, or with the next signal, they
// are cut off.
func (s *Service) drain(signals <-chan os.Signal) {
	budget := s.config.Drain.Timeout
	s.front.Drain()
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
		s.log.Warn("drain budget is used up; cutting connections", "connections", s.front.Connections())
	case sig := <-signals:
		s.log.Warn("second signal; cutting connections", "signal", sig.String(), "connections", s.front.Connections())
	}
	s.front.Cut()
	_ = s.front.Wait(context.Background()) // their sockets are closed: they end at once
}
