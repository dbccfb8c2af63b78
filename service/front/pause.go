package front

import "context"

// Pause stops taking connections on all listeners, which stay open: clients wait in
// their backlogs. Once it has returned nil, every connection that was accepted is
// counted by Connections and by its listener, and no other comes before Resume, which
// must follow in any case, or Drain, or Leave. One Pause may be under way at a time.
func (s *Server) Pause(ctx context.Context) error {
	gate := make(chan struct{})
	s.gate.Store(&gate)
	s.mu.Lock()
	list := make([]*Listener, 0, len(s.listeners))
	for l := range s.listeners {
		list = append(list, l)
	}
	s.mu.Unlock()
	for _, l := range list {
		// Its loop answers, and sees the gate before it accepts again.
		if err := l.Probe(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Resume ends a Pause.
func (s *Server) Resume() {
	if gate := s.gate.Swap(nil); gate != nil {
		close(*gate)
	}
}

// passGate makes an accept loop wait for the end of a pause, or of the server.
func (s *Server) passGate() {
	if gate := s.gate.Load(); gate != nil {
		select {
		case <-*gate:
		case <-s.ended:
		}
	}
}
