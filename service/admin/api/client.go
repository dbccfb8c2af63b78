package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// ErrNotRunning says that nobody answers on the admin socket.
var ErrNotRunning = errors.New("no daemon answers")

// ErrNotPermitted says that the caller may not connect to the admin socket, or may
// not do what it asked for.
var ErrNotPermitted = errors.New("not permitted")

// ErrNoAnswer says that the daemon closed the connection instead of answering. Asked
// again, it may answer; a change that was asked for may have been made or not.
var ErrNoAnswer = errors.New("the daemon closed the connection without an answer")

// ErrPaused says that the daemon ended a stream whose reader took nothing for longer
// than Patience.
var ErrPaused = errors.New("reading paused for too long")

// Client speaks to a daemon's admin API. It may be used from several goroutines.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client for the daemon whose admin socket is at path. It does not
// connect yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return &mute{Conn: c}, nil
	}
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, DisableCompression: true,
	}}}
}

// mute tells the end of a connection on which nothing was ever said from other ends.
// net/http calls that by several names, one of them its own.
type mute struct {
	net.Conn
	heard bool // only the one goroutine that reads uses it
}

// Read implements net.Conn.
func (c *mute) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.heard = c.heard || n > 0
	if err == io.EOF && !c.heard { //nolint:errorlint // readers return it as it is
		err = ErrNoAnswer
	}
	return n, err
}

// Socket returns the path of the admin socket.
func (c *Client) Socket() string { return c.socket }

// Close closes connections that are kept for further requests.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Version says what runs.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version")
}

// Status says how the daemon fares.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Health says whether the daemon lives and is ready, and what is wrong. That it is
// not ready is no error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	const path = "/v1/health"
	resp, err := c.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return Health{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return Health{}, answerError(resp)
	}
	var answer struct {
		ErrorBody // a daemon that has too many connections answers 503, too
		Health
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	switch {
	case err != nil:
		return Health{}, fmt.Errorf("reading the daemon's answer to %s: %w", path, err)
	case answer.Error != nil:
		return Health{}, answer.Error
	case answer.State == "":
		return Health{}, foreign(resp)
	}
	return answer.Health, nil
}

// Routes lists the routes in the order in which they are configured.
func (c *Client) Routes(ctx context.Context) ([]Route, error) {
	return get[[]Route](ctx, c, "/v1/routes")
}

// Upstreams lists the upstreams by name.
func (c *Client) Upstreams(ctx context.Context) ([]Upstream, error) {
	return get[[]Upstream](ctx, c, "/v1/upstreams")
}

// Identities lists the identities by name.
func (c *Client) Identities(ctx context.Context) ([]Identity, error) {
	return get[[]Identity](ctx, c, "/v1/identities")
}

// Connections lists the connections of clients, the oldest first.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	return get[[]Connection](ctx, c, "/v1/connections")
}

// Limits lists the bounds with their use.
func (c *Client) Limits(ctx context.Context) ([]Limit, error) {
	return get[[]Limit](ctx, c, "/v1/limits")
}

// LogStats says how the request log fares.
func (c *Client) LogStats(ctx context.Context) (LogStats, error) {
	return get[LogStats](ctx, c, "/v1/log/stats")
}

// Level returns the least severe level of events that is logged.
func (c *Client) Level(ctx context.Context) (Level, error) {
	return get[Level](ctx, c, "/v1/level")
}

// SetLevel changes the level of events until the daemon ends.
func (c *Client) SetLevel(ctx context.Context, level string) (Level, error) {
	return send[Level](ctx, c, http.MethodPut, "/v1/level", Level{level})
}

// Reload makes the daemon load its configuration and certificates again, and waits
// for the outcome. An *Error of class Refused has all that is wrong in Details;
// nothing has changed then.
func (c *Client) Reload(ctx context.Context) (Reload, error) {
	return send[Reload](ctx, c, http.MethodPost, "/v1/reload", nil)
}

// Check does what Reload does, but for the change.
func (c *Client) Check(ctx context.Context) (Reload, error) {
	return send[Reload](ctx, c, http.MethodPost, "/v1/check", nil)
}

// Drain keeps new exchanges away from endpoints.
func (c *Client) Drain(ctx context.Context, t Target) (Changed, error) {
	return send[Changed](ctx, c, http.MethodPost, "/v1/drain", t)
}

// Resume undoes Drain.
func (c *Client) Resume(ctx context.Context, t Target) (Changed, error) {
	return send[Changed](ctx, c, http.MethodPost, "/v1/resume", t)
}

// ResetBreaker forgets that endpoints have failed.
func (c *Client) ResetBreaker(ctx context.Context, t Target) (Changed, error) {
	return send[Changed](ctx, c, http.MethodPost, "/v1/breaker/reset", t)
}

// Stage hands new files of an identity to the daemon, which checks them and keeps them
// in memory.
func (c *Client) Stage(ctx context.Context, s Stage) (Staged, error) {
	return send[Staged](ctx, c, http.MethodPost, "/v1/certs/stage", s)
}

// Probe makes the daemon try a handshake with each endpoint. That endpoints fail is no
// error.
func (c *Client) Probe(ctx context.Context, name string) (Probed, error) {
	return send[Probed](ctx, c, http.MethodPost, "/v1/certs/probe", ProbeOf{name})
}

// Commit puts what is staged for an identity in place. On an error nothing has changed.
func (c *Client) Commit(ctx context.Context, identity string) (Committed, error) {
	return send[Committed](ctx, c, http.MethodPost, "/v1/certs/commit", IdentityRef{identity})
}

// Abort makes the daemon forget what is staged for an identity.
func (c *Client) Abort(ctx context.Context, identity string) (Changed, error) {
	return send[Changed](ctx, c, http.MethodPost, "/v1/certs/abort", IdentityRef{identity})
}

// Metrics copies the metrics in the Prometheus text format to w.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	_, err = io.Copy(w, resp.Body)
	return err
}

// Records passes on the records that a query finds.
func (c *Client) Records(ctx context.Context, q Query, each func(Record) error) error {
	return stream(ctx, c, "/v1/log/records?"+q.Values().Encode(), each, nil)
}

// Tail passes on records as they are made, until ctx ends or each returns an error.
// From, To, Oldest and Limit of the query play no part. lost is called with the
// number of records that the caller was too slow for.
func (c *Client) Tail(ctx context.Context, q Query, each func(Record) error, lost func(uint64)) error {
	q.From, q.To, q.Oldest, q.Limit = time.Time{}, time.Time{}, false, 0
	return stream(ctx, c, "/v1/log/tail?"+q.Values().Encode(), each, lost)
}

// Events passes on the latest events, count of them, and, with follow, those to
// come until ctx ends.
func (c *Client) Events(ctx context.Context, count int, follow bool, each func(Event) error, lost func(uint64)) error {
	v := url.Values{"count": {strconv.Itoa(count)}, "follow": {strconv.FormatBool(follow)}}
	return stream(ctx, c, "/v1/events?"+v.Encode(), each, lost)
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return send[T](ctx, c, http.MethodGet, path, nil)
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (out T, err error) {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("reading the daemon's answer to %s: %w", path, err)
	}
	return out, nil
}

// do sends a request. Any answer but one of success is an error.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	resp, err := c.ask(ctx, method, path, body)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	return nil, answerError(resp)
}

// ask sends a request and returns any answer.
func (c *Client) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mtlsproxy"+path, payload)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.dialError(err)
	}
	return resp, nil
}

func (c *Client) dialError(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("connecting to %s: %w", c.socket, ErrNotPermitted)
	case errors.Is(err, ErrNoAnswer), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w on %s: it is stopping, or has too many of them", ErrNoAnswer, c.socket)
	}
	return fmt.Errorf("asking the daemon on %s: %w", c.socket, err)
}

// answerError makes an error of an answer that is one.
func answerError(resp *http.Response) error {
	var body ErrorBody
	err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&body)
	if err != nil || body.Error == nil {
		return foreign(resp)
	}
	if body.Error.Class == NotPermitted {
		return fmt.Errorf("%w: %w", ErrNotPermitted, body.Error)
	}
	return body.Error
}

// foreign is the error of an answer that is not of the admin API.
func foreign(resp *http.Response) error {
	return fmt.Errorf("the daemon answers %s, and not in the words of the admin API", resp.Status)
}
