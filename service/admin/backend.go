package admin

import (
	"context"
	"io"
	"net/url"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// Backend is the daemon behind the API. Its methods are called from many
// goroutines. An *api.Error is answered as it is; any other error is logged and
// answered as an internal one that does not tell. A context ends when the client is
// gone, or the server closes.
type Backend interface {
	Viewer
	Operator
	Streamer
}

// Viewer tells how the daemon fares. What it returns is only read.
type Viewer interface {
	Version() api.Version
	Status(ctx context.Context) api.Status
	Health() api.Health
	Routes() []api.Route
	Upstreams() []api.Upstream
	Identities() []api.Identity
	Connections() []api.Connection
	Limits() []api.Limit
	LogStats() api.LogStats
	Level() string
	// Metrics writes the Prometheus text format.
	Metrics(w io.Writer) error
	// Check finds out what a reload would do, without doing it.
	Check(ctx context.Context) (api.Reload, error)
}

// Operator changes the daemon.
type Operator interface {
	SetLevel(level string) error
	// Reload loads everything again. by tells who asked: "uid 1000".
	Reload(ctx context.Context, by string) (api.Reload, error)
	Drain(t api.Target) (api.Changed, error)
	Resume(t api.Target) (api.Changed, error)
	ResetBreaker(t api.Target) (api.Changed, error)
	Certifier
}

// Certifier tries new files of an identity and puts them in place. An *api.Error says
// why something cannot be done, without a byte of what is secret: it is logged. If an
// error comes back, nothing has changed.
type Certifier interface {
	// Stage checks new files of an identity and keeps them in memory, in place of what
	// was staged for it before. The bytes are overwritten once it returns: what it keeps,
	// it copies.
	Stage(ctx context.Context, s api.Stage, by string) (api.Staged, error)
	// Commit writes what is staged to where the identity lives, and loads it.
	Commit(ctx context.Context, identity, by string) (api.Committed, error)
	// Abort forgets what is staged.
	Abort(identity string) (api.Changed, error)
	// Probe makes a handshake with each endpoint of an upstream, or of all upstreams
	// of an identity, with what is staged or, if there is nothing, with what is in use.
	// A name that is both is the identity's. That endpoints fail is no error. Clients
	// wait ten seconds for it unless they were told otherwise.
	Probe(ctx context.Context, name string) (api.Probed, error)
}

// Streamer passes on values one by one, until there are no more, ctx ends, or each
// or lost returns an error, which it returns. Values belong to the Backend again when
// the call returns. An error before the first value is answered with a status of its
// own. lost tells how many values were left out because the reader was too slow.
type Streamer interface {
	// Records and Tail are given the parameters of an api.Query. Their names, and the
	// forms of numbers and times, have been checked.
	Records(ctx context.Context, q url.Values, each func(*api.Record) error) error
	Tail(ctx context.Context, q url.Values, each func(*api.Record) error, lost func(uint64) error) error
	// Events passes on the latest count events and, with follow, those to come.
	Events(ctx context.Context, count int, follow bool, each func(*api.Event) error, lost func(uint64) error) error
}
