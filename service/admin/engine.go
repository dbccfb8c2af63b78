package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// The bounds of a server.
const (
	maxConns    = 80       // at a time
	keptConns   = 16       // of these, for root and the daemon's own user
	connsEach   = 16       // of any other uid
	toldConns   = 16       // beyond these: told that the server is busy
	maxStreams  = 16       // at a time
	keptStreams = 4        // of these, for root and the daemon's own user
	streamsEach = 4        // of any other uid
	maxQueries  = 4        // of the request log at a time, as many as it runs; a reader that pauses keeps one busy
	keptQueries = 1        // of these, for root and the daemon's own user
	queriesEach = 2        // of any other uid
	maxHeader   = 8 << 10  // bytes of a request's line and header
	maxBody     = 64 << 10 // bytes of a request's body, unless the route says otherwise

	headerTime = 5 * time.Second  // to send a header
	bodyTime   = 10 * time.Second // to send a body
	idleTime   = time.Minute      // between two requests
	writeTime  = 30 * time.Second // for a write
	turnTime   = 5 * time.Second  // for one's turn where not all can run at a time
	graceTime  = 3 * time.Second  // for requests that have begun, when the server closes
	endTime    = time.Second      // for the Backend, after the end of its context
)

// headerSlop is what net/http adds to its MaxHeaderBytes.
const headerSlop = 4 << 10

// engine serves a table of routes over HTTP. It is what the admin API and the
// metrics on TCP have in common.
type engine struct {
	log    *slog.Logger
	who    func(net.Conn) (caller.Caller, error)
	uid    func(net.Conn) (uint32, error)
	diag   caller.Diag // answers for those two, unless others were given
	permit func(*call, permission) *api.Error
	routes map[string][]*route // by path
	http   http.Server

	conns, told     share
	streams         share
	queries, checks share
	probes          share

	stop    context.Context // ends when the server closes; its cause is errStopping
	stopNow context.CancelCauseFunc
	mu      sync.Mutex // orders running.Add before close
	running sync.WaitGroup
	closed  bool
}

var errStopping = &api.Error{Class: api.Stopping, Message: "the daemon stops", Hint: "try again when it runs again"}

// callers are where an engine learns who is at the other end of a connection.
type callers struct {
	who func(net.Conn) (caller.Caller, error)
	uid func(net.Conn) (uint32, error)
}

func (e *engine) init(log *slog.Logger, from callers, permit func(*call, permission) *api.Error, table []route) {
	e.log, e.who, e.uid, e.permit = log, from.who, from.uid, permit
	if e.who == nil {
		e.who = e.diag.Of
	}
	if e.uid == nil {
		e.uid = e.diag.UID
	}
	e.conns = share{total: maxConns, kept: keptConns, each: connsEach}
	e.told = share{total: toldConns, each: toldConns}
	e.streams = share{total: maxStreams, kept: keptStreams, each: streamsEach}
	e.queries = share{total: maxQueries, kept: keptQueries, each: queriesEach}
	e.checks = share{total: 1, each: 1}
	e.probes = share{total: 1, each: 1}
	e.routes = make(map[string][]*route)
	for i := range table {
		r := &table[i]
		e.routes[r.path] = append(e.routes[r.path], r)
	}
	e.stop, e.stopNow = context.WithCancelCause(context.Background())
	e.http = http.Server{
		Handler:                      http.HandlerFunc(e.handle),
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headerTime,
		IdleTimeout:                  idleTime,
		MaxHeaderBytes:               maxHeader - headerSlop,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext:                  withConn,
	}
}

// serve answers on l until close.
func (e *engine) serve(l net.Listener) error {
	err := e.http.Serve(&listener{Listener: l, engine: e})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// close ends the server within graceTime and endTime.
func (e *engine) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.stopNow(errStopping)
	ctx, cancel := context.WithTimeout(context.Background(), graceTime)
	defer cancel()
	if err := e.http.Shutdown(ctx); err != nil {
		_ = e.http.Close() // closes what did not end in time; there is nothing else to do about it
	}
	ended := make(chan struct{})
	go func() {
		e.running.Wait()
		close(ended)
	}()
	patience := time.NewTimer(endTime)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		e.log.Warn("an admin request did not end in time; leaving it behind", "event", "admin_failed")
	}
	e.diag.Close()
}

// begin reports whether a request may begin. If so, end must follow.
func (e *engine) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.running.Add(1)
	}
	return !e.closed
}

func (e *engine) end() { e.running.Done() }

// limits tells the bounds that count.
func (e *engine) limits(subject string) []api.Limit {
	limit := func(name string, s *share) api.Limit {
		used, rejected := s.usage()
		return api.Limit{Name: name, Subject: subject, Unit: name, Capacity: int64(s.total), Used: int64(used), Rejected: rejected}
	}
	return []api.Limit{limit("connections", &e.conns), limit("streams", &e.streams), limit("queries", &e.queries)}
}
