package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// call is one request on its way through the server.
type call struct {
	engine *engine
	log    *slog.Logger
	conn   *conn
	route  *route
	w      http.ResponseWriter
	r      *http.Request
	query  url.Values
	status int  // of the answer
	begun  bool // something of the answer has been written
}

// handle answers a request.
func (e *engine) handle(w http.ResponseWriter, r *http.Request) {
	c := &call{engine: e, log: e.log, w: w, r: r, status: http.StatusOK, conn: r.Context().Value(connKey{}).(*conn)}
	c.patience(writeTime)
	if r.ContentLength != 0 { // net/http would wait for the body for ever, even when it only skips it
		_ = c.control().SetReadDeadline(time.Now().Add(bodyTime)) // fails only on a closed connection
	}
	if !e.begin() {
		c.fail(errStopping)
		return
	}
	defer e.end()
	defer c.recovered()
	if err := c.serve(); err != nil {
		c.fail(c.public(err))
	}
}

func (c *call) serve() error {
	if err := c.welcome(); err != nil {
		return err
	}
	if err := c.find(); err != nil {
		return err
	}
	if err := c.engine.permit(c, c.route.needs); err != nil {
		return err
	}
	query, err := parameters(c.r.URL.RawQuery, c.route.params)
	if err != nil {
		return err
	}
	c.query = query
	if c.route.accepts == nil && c.r.ContentLength != 0 {
		return badRequest("%s %s takes no body", c.r.Method, c.route.path)
	}
	return c.route.serve(c)
}

// welcome refuses requests that no client of this API makes.
func (c *call) welcome() error {
	if c.conn.surplus {
		return &api.Error{
			Class:   api.Busy,
			Message: fmt.Sprintf("there are too many connections: a user may have %d, and all of them %d", connsEach, maxConns-keptConns),
			Hint:    "try again, or end some of the clients",
		}
	}
	return fromBrowser(c.r, c.conn)
}

// inTurn runs f once a part of s is free for the caller, and says that what is
// busy if that takes too long.
func (c *call) inTurn(ctx context.Context, s *share, what string, f func() error) error {
	if !s.wait(ctx, turnTime, c.conn.holder) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &api.Error{Class: api.Busy, Message: what, Hint: "try again, or end what runs"}
	}
	defer s.give(c.conn.holder)
	return f()
}

// find looks up the route.
func (c *call) find() error {
	routes := c.engine.routes[c.r.URL.Path]
	if len(routes) == 0 {
		return &api.Error{
			Class:   api.NotFound,
			Message: fmt.Sprintf("there is no path %q", c.r.URL.Path),
			Hint:    "an older daemon may not have it yet; GET /v1/openapi.json lists what there is",
		}
	}
	var allowed []string
	for _, r := range routes {
		methods := r.methods()
		if slices.Contains(methods, c.r.Method) {
			c.route = r
			return nil
		}
		allowed = append(allowed, methods...)
	}
	list := strings.Join(allowed, ", ")
	c.w.Header().Set("Allow", list)
	return &api.Error{Class: api.BadMethod, Message: fmt.Sprintf("%s takes %s, not %q", c.r.URL.Path, list, c.r.Method)}
}

// public is what the client is told of an error.
func (c *call) public(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if c.r.Context().Err() == nil { // with the client gone, most calls fail
		c.log.Error("an admin request failed", "event", "admin_failed", "path", c.route.path, "error", err)
	}
	return &api.Error{
		Class:   api.Internal,
		Message: "the daemon could not do this, through a fault of its own",
		Hint:    "its events say more",
	}
}

// fail answers with an error.
func (c *call) fail(e *api.Error) {
	if c.r.ContentLength != 0 || c.conn.surplus {
		c.w.Header().Set("Connection", "close") // what is left of a body is not worth reading
	}
	c.status = e.Class.Status()
	if err := c.answer(api.ErrorBody{Error: e}); err != nil {
		c.log.Error("an error could not be answered", "event", "admin_failed", "error", err)
	}
}

// answer writes v as JSON.
func (c *call) answer(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // no browser reads it, and people do
	if err := enc.Encode(complete(v)); err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	c.send("application/json", b.Bytes())
	return nil
}

func (c *call) send(contentType string, body []byte) {
	c.header(contentType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.patience(writeTime)
	c.w.WriteHeader(c.status)
	_, _ = c.w.Write(body) // if the client is gone there is nobody to tell
}

func (c *call) header(contentType string) {
	c.begun = true
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// patience bounds the writes that follow.
func (c *call) patience(d time.Duration) {
	_ = c.control().SetWriteDeadline(time.Now().Add(d)) // fails only on a closed connection
}

func (c *call) control() *http.ResponseController { return http.NewResponseController(c.w) }

// recovered keeps a fault of ours in one request from ending the daemon.
func (c *call) recovered() {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler { //nolint:errorlint // it is this very value
		panic(fault)
	}
	c.log.Error("an admin request panicked; this is a bug", "event", "bug", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
	if c.begun {
		panic(http.ErrAbortHandler) // what was written must not look complete
	}
	c.fail(&api.Error{Class: api.Internal, Message: "the daemon could not do this, through a fault of its own", Hint: "its events say more; please report this"})
}

func badRequest(format string, args ...any) *api.Error {
	return &api.Error{Class: api.BadRequest, Message: fmt.Sprintf(format, args...), Hint: "GET /v1/openapi.json describes what it takes"}
}
