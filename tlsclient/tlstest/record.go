package tlstest

import (
	"crypto/tls"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// Stats count what a server has seen so far.
type Stats struct {
	Accepted   int // TCP connections
	Open       int // of these, not closed yet
	Handshakes int // completed
	Resumed    int // of these, with a resumed session
	Failed     int // handshakes that failed
	Requests   int // complete request heads
}

// Seen is one request as it arrived.
type Seen struct {
	Conn   int    // index of its connection
	Serial string // of the client certificate, in lower-case hexadecimal
	Method string
	Target string // exactly as in the request line
	Host   string
	ID     string // value of IDHeader
	// Head holds the raw bytes from the request line to the empty line; nil for a server with a net/http handler.
	Head []byte
	// Body is what Conn.ReadBody has read.
	Body []byte
}

// keep bounds the requests and serials that are remembered one by one, so that a load test may run for long.
const keep = 10_000

// records are a server's memory. changed is closed and replaced at every update, for those who wait.
type records struct {
	mu       sync.Mutex
	stats    Stats
	requests []*Seen
	counts   map[string]int
	serials  []string
	failures []error
	received []byte
	rejected map[string]Rejection // by serial
	uses     map[string]Use       // by serial
	changed  chan struct{}
}

func (l *records) update(change func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *records) handshake(state tls.ConnectionState, err error) {
	l.update(func(st *Stats) {
		if err != nil {
			st.Failed++
			if len(l.failures) < keep {
				l.failures = append(l.failures, err)
			}
			return
		}
		st.Handshakes++
		if state.DidResume {
			st.Resumed++
		}
		id := serial(state)
		if len(l.serials) < keep {
			l.serials = append(l.serials, id)
		}
		l.use(id, func(u *Use, now time.Time) {
			u.Handshakes++
			u.Open++
			if u.First.IsZero() {
				u.First = now
			}
			u.LastHandshake, u.Closed = now, time.Time{}
		})
	})
}

func (l *records) request(seen *Seen) {
	l.update(func(st *Stats) {
		st.Requests++
		if len(l.requests) < keep {
			l.requests = append(l.requests, seen)
		}
		l.use(seen.Serial, func(u *Use, now time.Time) {
			u.Requests++
			u.LastRequest = now
		})
		if seen.ID != "" {
			if l.counts == nil {
				l.counts = map[string]int{}
			}
			l.counts[seen.ID]++
		}
	})
}

func (l *records) body(seen *Seen, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen.Body = append(seen.Body, body...)
}

// A recorder reads from a connection and keeps a copy of what it read.
type recorder struct{ c *Conn }

func (r recorder) Read(p []byte) (int, error) {
	n, err := r.c.TLS.Read(p)
	l := &r.c.server.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received = append(l.received, p[:n]...)
	return n, err
}

func serial(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return "" // only if Adjust switched client certificates off
	}
	return state.PeerCertificates[0].SerialNumber.Text(16)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.stats
}

// Requests returns the requests seen, in order of arrival; at most the first 10,000.
func (s *Server) Requests() []Seen {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	all := make([]Seen, len(s.log.requests))
	for i, seen := range s.log.requests {
		all[i] = *seen
	}
	return all
}

// Received returns all bytes that scripts have read through Conn.R on all connections, in order of arrival, if the
// options said KeepBytes. It is the evidence of what really went over the wire, framing and trailers included.
func (s *Server) Received() []byte {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.received)
}

// Count tells how many requests carried id in the field [IDHeader].
func (s *Server) Count(id string) int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.counts[id]
}

// Counts returns how often each value of [IDHeader] arrived.
func (s *Server) Counts() map[string]int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return maps.Clone(s.log.counts)
}

// Serials returns the client certificates' serial numbers, one for each completed handshake, in order.
func (s *Server) Serials() []string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.serials)
}

// Failures returns the errors of the handshakes that failed.
func (s *Server) Failures() []error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.failures)
}

// Wait returns when the counters satisfy the condition and fails the test if they do not within 10 seconds.
func (s *Server) Wait(tb testing.TB, what string, satisfied func(Stats) bool) {
	tb.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for {
		s.log.mu.Lock()
		stats, changed := s.log.stats, s.log.changed
		s.log.mu.Unlock()
		if satisfied(stats) {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			tb.Fatalf("upstream: waiting for %s: have %+v", what, stats)
		}
	}
}
