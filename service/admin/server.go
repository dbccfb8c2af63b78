package admin

import (
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// Options say what a Server is made of.
type Options struct {
	Backend Backend
	Access  Access
	// Log takes an event for every change, by whom and with what outcome, and for
	// refusals, the latter at most ten a minute.
	Log *slog.Logger
	// Who tells who is at the other end of a connection, and is asked at its first
	// request. nil means caller.Of.
	Who func(net.Conn) (caller.Caller, error)
	// UID tells the uid alone, of every connection that is accepted: it must not be
	// slow. nil means that of a caller.Diag.
	UID func(net.Conn) (uint32, error)
}

// Server serves the admin API. Make one with New.
type Server struct {
	engine
	access  atomic.Pointer[Access]
	denials quota
}

// New makes a server. Close ends it.
func New(o Options) *Server {
	s := new(Server)
	s.Use(o.Access)
	s.engine.init(o.Log, callers{o.Who, o.UID}, s.permit, table(o.Backend, s.may))
	return s
}

// Use replaces the permissions. A stream whose reader may no longer have it ends
// with its next value, or after 15 s.
func (s *Server) Use(a Access) { s.access.Store(&a) }

// Serve answers on l until Close, which makes it return nil. It closes l. It may be
// called for several listeners.
func (s *Server) Serve(l net.Listener) error { return s.engine.serve(l) }

// Close stops listening, ends streams with an error line, and gives requests that
// have begun a few seconds. It returns when the Backend is no longer used, but for
// calls that outstay the end of their context.
func (s *Server) Close() { s.engine.close() }

// Limits tells the server's own bounds with their use.
func (s *Server) Limits() []api.Limit { return s.engine.limits(`admin API`) }
