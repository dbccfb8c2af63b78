package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
)

// listen opens what w listens on and old does not yet: all of it or nothing.
func (s *Service) listen(w, old *world) error {
	if len(w.config.Listeners) == 0 {
		return fmt.Errorf("%w: there is no listener; write [listener.http] address = \"127.0.0.1:8980\" into the configuration, or give --listen", ErrConfig)
	}
	var errs []error
	taken := make(map[string]int)
	for _, l := range w.config.Listeners {
		for _, a := range l.Addresses {
			taken[a.String()]++ // port 0 may be there more than once
			key := fmt.Sprintf("%s#%d", a, taken[a.String()])
			opened, err := openListener(old, key, l.Name, a, l.Mode)
			if err != nil {
				errs = append(errs, fmt.Errorf("listener %q: %w", l.Name, err))
				continue
			}
			w.listeners = append(w.listeners, opened)
		}
	}
	errs = append(errs, s.listenOperator(w, old))
	if err := errors.Join(errs...); err != nil {
		w.discard(old)
		w.listeners, w.operator = nil, nil
		return fmt.Errorf("%w: %w", ErrListen, err)
	}
	return nil
}

// openListener returns the listener that old has open already, or a new one.
func openListener(old *world, key, name string, a config.Address, mode fs.FileMode) (*listener, error) {
	if i := slices.IndexFunc(old.listeners, func(l *listener) bool { return l.key == key }); i >= 0 {
		return old.listeners[i], nil
	}
	opened, err := open(a, mode)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: front.NewListener(opened, name), key: key, unix: a.Unix != ""}, nil
}

// serve starts the accept loops that are new in w, ends those of old that are not
// in it, and gives those that stay the name and mode that w wants.
func (s *Service) serve(w, old *world) {
	i := 0
	for _, c := range w.config.Listeners {
		for range c.Addresses {
			l := w.listeners[i]
			i++
			if !slices.Contains(old.listeners, l) {
				s.serving.Go(func() { s.accept(l) })
				continue
			}
			l.Rename(c.Name)
			if l.unix {
				if err := os.Chmod(l.Addr().String(), c.Mode); err != nil {
					s.Log.Warn("changing the mode of a listener's socket failed", "listener", c.Name, "error", err)
				}
			}
		}
	}
	for _, l := range old.listeners {
		if !slices.Contains(w.listeners, l) {
			s.front.Remove(l.Listener)
		}
	}
	s.serveOperator(w, old)
	s.watchConfig(w)
}

func (s *Service) accept(l *listener) {
	if err := s.front.Serve(l.Listener); err != nil {
		select {
		case s.failed <- err:
		default: // one is enough
		}
	}
}
