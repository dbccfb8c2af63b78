package service

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// listener is an open listener.
type listener struct {
	*front.Listener
	key    string // what it was made from
	passed bool   // by the service manager, who keeps it when we close it
}

// wanted is what one configuration wants of a listener.
type wanted struct {
	*listener
	name string
	mode fs.FileMode // of a unix socket of our own; 0: leave it
}

// listen opens what w listens on and old does not yet: all of it or nothing.
func (s *Service) listen(w, old *world) error {
	if err := s.checkInstance(); err != nil {
		w.discard(old)
		return err
	}
	s.takePassed(w, old)
	var errs []error
	taken := make(map[string]int)
	for _, l := range w.config.Listeners {
		if w.has(l.Name) {
			continue // the service manager has the sockets of this name
		}
		for _, a := range l.Addresses {
			taken[a.String()]++ // port 0 may be there more than once
			key := fmt.Sprintf("%s#%d", a, taken[a.String()])
			opened, err := openListener(old, key, l.Name, a, l.Mode)
			if err != nil {
				errs = append(errs, fmt.Errorf("listener %q: %w", l.Name, err))
				continue
			}
			p := wanted{listener: opened, name: l.Name}
			if a.Unix != "" {
				p.mode = l.Mode
			}
			w.listeners = append(w.listeners, p)
		}
	}
	errs = append(errs, s.listenOperator(w, old))
	err := errors.Join(errs...)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrListen, err)
	case len(w.listeners) == 0:
		err = fmt.Errorf("%w: there is no listener: no socket was passed, as systemctl start mtlsproxy.socket does, and the configuration names none; write [listener.http] address = \"127.0.0.1:8980\" into it, or give --listen", ErrConfig)
	default:
		return nil
	}
	w.discard(old)
	w.listeners, w.operator = nil, nil
	return err
}

// takePassed gives w the sockets that were passed to the process: those of old, or,
// at the start, all of them.
func (s *Service) takePassed(w, old *world) {
	for _, p := range old.listeners {
		if p.passed {
			w.listeners = append(w.listeners, wanted{listener: p.listener, name: p.Name()})
		}
	}
	for i, socket := range s.Passed.Listeners {
		key := fmt.Sprintf("passed#%d", i)
		if socket.Name != sd.Admin && !old.open(key) {
			l := &listener{Listener: front.NewListener(socket.Listener, socket.Name), key: key, passed: true}
			w.listeners = append(w.listeners, wanted{listener: l, name: socket.Name})
		}
	}
}

// has reports whether w has a listener of that name.
func (w *world) has(name string) bool {
	return slices.ContainsFunc(w.listeners, func(p wanted) bool { return p.passed && p.name == name })
}

// open reports whether w has the listener made from key.
func (w *world) open(key string) bool {
	return slices.ContainsFunc(w.listeners, func(p wanted) bool { return p.key == key })
}

// serves reports whether w has the listener l.
func (w *world) serves(l *listener) bool {
	return slices.ContainsFunc(w.listeners, func(p wanted) bool { return p.listener == l })
}

// openListener returns the listener that old has open already, or a new one.
func openListener(old *world, key, name string, a config.Address, mode fs.FileMode) (*listener, error) {
	if i := slices.IndexFunc(old.listeners, func(p wanted) bool { return p.key == key }); i >= 0 && inPlace(old.listeners[i].Listener.Listener) {
		return old.listeners[i].listener, nil
	}
	opened, err := open(a, mode)
	if err != nil {
		return nil, explainSocket(err, a.Unix, name)
	}
	return &listener{Listener: front.NewListener(opened, name), key: key}, nil
}

// narrow takes the permissions from sockets that w does not want, before its routes
// hold; serve adds the others after.
func (s *Service) narrow(w, old *world) {
	for _, p := range w.listeners {
		if p.mode != 0 && old.serves(p.listener) {
			s.setMode(p, p.mode, func(now, want fs.FileMode) fs.FileMode { return now & want })
		}
	}
}

func (s *Service) setMode(p wanted, want fs.FileMode, combine func(now, want fs.FileMode) fs.FileMode) {
	u, ok := p.Listener.Listener.(*unixListener)
	if !ok {
		return
	}
	if err := u.setMode(want, combine); err != nil {
		s.Log.Warn("changing the mode of a listener's socket failed", "event", "mode_failed", "listener", p.name, "error", err)
	}
}

// serve starts the accept loops that are new in w, ends those of old that are not
// in it, and gives those that stay the name and mode that w wants.
func (s *Service) serve(w, old *world) {
	for _, p := range w.listeners {
		if !old.serves(p.listener) {
			s.serving.Go(func() { s.accept(p.listener) })
			continue
		}
		p.Rename(p.name)
		if p.mode != 0 {
			s.setMode(p, p.mode, func(_, want fs.FileMode) fs.FileMode { return want })
		}
	}
	for _, p := range old.listeners {
		if !w.serves(p.listener) {
			s.meters.keepAccepted(p.listener)
			s.front.Remove(p.Listener)
		}
	}
	s.warnOverruled(w.config)
	s.warnTight(w.config)
	s.serveOperator(w, old)
	s.watchConfig(w)
	s.tendIdentities(w)
}

// nameListeners tells the routes the names of the listeners.
func (w *world) nameListeners() {
	w.table.Listeners = make(map[*front.Listener]string, len(w.listeners))
	for _, p := range w.listeners {
		w.table.Listeners[p.Listener] = p.name
	}
}

func (s *Service) accept(l *listener) {
	if err := s.front.Serve(l.Listener); err != nil {
		select {
		case s.failed <- err:
		default: // one is enough
		}
	}
}

// adoptClients serves the connections that the process before this one has handed
// over, and returns how many.
func (s *Service) adoptClients(w *world) (adopted int) {
	lost := make(map[string]int)
	for _, c := range s.Passed.Clients {
		i := slices.IndexFunc(w.listeners, func(p wanted) bool { return p.name == c.Listener })
		if i < 0 {
			_ = c.Close() // it is between two exchanges: its client connects anew
			lost[c.Listener]++
			continue
		}
		if s.front.Adopt(w.listeners[i].Listener, c.Conn) {
			adopted++
		}
	}
	s.Passed.Clients = nil
	for name, n := range lost {
		s.Log.Warn("connections that were handed over are closed: the listener by which they came is no more", "event", "descriptor_ignored", "name", name, "connections", n, "error", fmt.Sprintf("there is no listener %q", name))
	}
	return adopted
}
