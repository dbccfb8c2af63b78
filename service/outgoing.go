package service

import (
	"slices"
	"sync"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// outgoing are upstreams that no route leads to any more, while exchanges still use
// them. They show what their identity shows.
type outgoing struct {
	mu   sync.Mutex
	list []*upstream
}

func (o *outgoing) add(list []*upstream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, list...)
}

func (o *outgoing) remove(u *upstream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = slices.DeleteFunc(o.list, func(other *upstream) bool { return other == u })
}

// upstreamsOf returns the upstreams of w, and those of worlds before that are not closed
// yet.
func (s *Service) upstreamsOf(w *world) []*upstream {
	var all []*upstream
	present := map[*tlsclient.Upstream]bool{}
	for _, u := range w.upstreams {
		if u.client != nil {
			all, present[u.client] = append(all, u), true
		}
	}
	s.outgoing.mu.Lock()
	defer s.outgoing.mu.Unlock()
	for _, u := range s.outgoing.list {
		if !present[u.client] {
			all = append(all, u)
		}
	}
	return all
}

// showing returns what connections show, by the identity that it is of, whichever
// identity their upstream has by now.
func (s *Service) showing(w *world) map[string][]tlsclient.GenerationState {
	all := make(map[string][]tlsclient.GenerationState)
	for _, u := range s.upstreamsOf(w) {
		for _, g := range u.client.State().Generations {
			name := g.Generation.Identity
			all[name] = append(all[name], g)
		}
	}
	return all
}
