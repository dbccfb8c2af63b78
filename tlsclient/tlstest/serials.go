package tlstest

import (
	"crypto/tls"
	"errors"
	"maps"
	"time"
)

// A Rejection is how a server turns a client certificate away.
type Rejection int

// The rejections.
const (
	Accept       Rejection = iota // not at all
	Alert                         // by a bad_certificate alert that ends the handshake, resumed ones too
	Unauthorized                  // by answering 401
	Forbidden                     // by answering 403
	BadRequest                    // by answering 400, as nginx does
)

// status is what every request is answered with, or 0.
func (r Rejection) status() int {
	switch r {
	case Unauthorized:
		return 401
	case Forbidden:
		return 403
	case BadRequest:
		return 400
	}
	return 0
}

// Use tells what a server has seen of one client certificate.
type Use struct {
	Handshakes int // completed, one for each connection
	Open       int // connections that are not closed yet
	Requests   int // complete request heads
	Rejected   int // handshakes and requests turned away, after Reject
	// When it was seen first, with a handshake, and last, with a handshake and with a request.
	First, LastHandshake, LastRequest time.Time
	// Closed is when the last of its connections was closed; zero while one is open.
	Closed time.Time
}

// Reject turns the certificate with that serial number (lower-case hexadecimal) away from now on. Connections it has
// stay open: an alert meets new ones, a status the next request on any. The status answers in place of scripts that
// are made of whole requests and responses, as [Static], [Echo] and [Handler] are; others see to it themselves.
func (s *Server) Reject(serial string, how Rejection) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if s.log.rejected == nil {
		s.log.rejected = map[string]Rejection{}
	}
	s.log.rejected[serial] = how
}

// Uses tells what the server has seen of each client certificate, by serial number in lower-case hexadecimal. It
// forgets nothing, so that a load test may run for long.
func (s *Server) Uses() map[string]Use {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return maps.Clone(s.log.uses)
}

// use changes what is known of serial. The mutex is held.
func (l *records) use(serial string, change func(*Use, time.Time)) {
	if l.uses == nil {
		l.uses = map[string]Use{}
	}
	u := l.uses[serial]
	change(&u, time.Now())
	l.uses[serial] = u
}

// admit is asked within each handshake.
func (l *records) admit(state tls.ConnectionState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := serial(state)
	if l.rejected[id] != Alert {
		return nil
	}
	l.use(id, func(u *Use, _ time.Time) { u.Rejected++ })
	return errors.New("client certificate " + id + " rejected by the test")
}

// turnedAway returns the status that answers the connection's next request, or 0.
func (c *Conn) turnedAway() int {
	id, l := c.Serial(), &c.server.log
	l.mu.Lock()
	defer l.mu.Unlock()
	status := l.rejected[id].status()
	if status != 0 {
		l.use(id, func(u *Use, _ time.Time) { u.Rejected++ })
	}
	return status
}
