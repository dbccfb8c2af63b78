package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// table is the admin API. Everything that is served, and its description, comes
// from here.
// may reports whether a caller has a permission that its route does not ask for.
func table(b Backend, may func(*call, permission) bool) []route {
	const get, put, post = http.MethodGet, http.MethodPut, http.MethodPost
	var rows []route
	description := sync.OnceValues(func() (json.RawMessage, error) { return describe(rows) })
	rows = []route{
		show(get, "/v1/version", connect, "What runs", plain(b.Version)),
		health(b, may),
		show(get, "/v1/openapi.json", connect, "This description", func(*call) (json.RawMessage, error) { return description() }),
		show(get, "/v1/status", read, "Is it serving, for whom, with which certificate, until when, and what is wrong",
			func(c *call) (api.Status, error) { return b.Status(c.r.Context()), nil }),
		show(get, "/v1/routes", read, "Routes in the order in which they are configured", plain(b.Routes)),
		show(get, "/v1/upstreams", read, "Upstreams by name, with their endpoints", plain(b.Upstreams)),
		show(get, "/v1/identities", read, "Identities by name, with their certificates", plain(b.Identities)),
		show(get, "/v1/connections", read, "Connections of clients, the oldest first", plain(b.Connections)),
		show(get, "/v1/limits", read, "Bounds with their use", plain(b.Limits)),
		metrics(read, b.Metrics),

		lines("/v1/log/records", "Records of the request log that a query finds", slices.Concat(whichRecords, howMany),
			func(ctx context.Context, c *call, to sink[api.Record]) error {
				return c.inTurn(ctx, &c.engine.queries, fmt.Sprintf("too many queries of the request log run: a user may have %d, and all of them %d", queriesEach, maxQueries-keptQueries),
					func() error { return b.Records(ctx, c.query, to.each) })
			}),
		lines("/v1/log/tail", "Records as they are made", whichRecords,
			func(ctx context.Context, c *call, to sink[api.Record]) error {
				return b.Tail(ctx, c.query, to.each, to.lost)
			}),
		show(get, "/v1/log/stats", read, "How the request log fares", plain(b.LogStats)),
		lines("/v1/events", "The latest events, and those to come", whichEvents,
			func(ctx context.Context, c *call, to sink[api.Event]) error {
				return b.Events(ctx, c.number("count", usualEvents), c.flag("follow"), to.each, to.lost)
			}),

		show(get, "/v1/level", read, "The least severe level of events that is logged",
			func(*call) (api.Level, error) { return api.Level{Level: b.Level()}, nil }),
		change(put, "/v1/level", "Log events from another level on, until the daemon ends", func(_ *call, l api.Level) (api.Level, error) {
			if err := b.SetLevel(l.Level); err != nil {
				return api.Level{}, err
			}
			return api.Level{Level: b.Level()}, nil
		}),
		change(post, "/v1/reload", "Load configuration and certificates again", func(c *call, _ none) (api.Reload, error) {
			return b.Reload(c.r.Context(), c.by())
		}),
		show(post, "/v1/check", read, "Find out what a reload would change, without doing it",
			func(c *call) (r api.Reload, err error) {
				// In turn and always anew: what it reads may have changed a moment ago.
				err = c.inTurn(c.r.Context(), &c.engine.checks, "other checks are under way", func() error {
					r, err = b.Check(c.r.Context())
					return err
				})
				return r, err
			}),
		change(post, "/v1/drain", "Keep new exchanges away from endpoints", target(b.Drain)),
		change(post, "/v1/resume", "Undo a drain", target(b.Resume)),
		change(post, "/v1/breaker/reset", "Forget that endpoints have failed", target(b.ResetBreaker)),
	}
	rows = append(rows, certificates(b)...)
	return rows
}

func plain[T any](f func() T) func(*call) (T, error) {
	return func(*call) (T, error) { return f(), nil }
}

func target(f func(api.Target) (api.Changed, error)) func(*call, api.Target) (api.Changed, error) {
	return func(_ *call, t api.Target) (api.Changed, error) { return f(t) }
}

// health is the row for probes: its status alone tells enough. Reasons tell of files,
// endpoints and certificates, which are not for whoever can connect.
func health(b Viewer, may func(*call, permission) bool) route {
	r := show(http.MethodGet, "/v1/health", connect,
		"Whether the daemon lives and is ready: 200 if it is ready, 503 if not. What is wrong is in reasons, for callers with the permission read; for others they are empty",
		func(c *call) (api.Health, error) {
			h := b.Health()
			if !h.Ready && !c.flag("live") || !h.Live {
				c.status = http.StatusServiceUnavailable
			}
			if !may(c, read) {
				h.Reasons = nil
			}
			return h, nil
		})
	r.params = []param{{"live", flag, "answer 200 as long as the daemon lives, ready or not"}}
	r.also = http.StatusServiceUnavailable
	return r
}

// usualEvents is how many events are shown if the client does not say.
const usualEvents = 100

var (
	whichEvents = []param{
		{"count", count, "how many of the latest events; 100 if not given"},
		{"follow", flag, "go on with those to come"},
	}
	howMany = []param{
		{"from", moment, "not older than this"},
		{"to", moment, "older than this"},
		{"order", order, "newest (usual) or oldest first"},
		{"limit", limit, "at most so many; -1 for all"},
	}
	whichRecords = []param{
		{"id", text, "request id"},
		{"listener", text, "name of the listener"},
		{"route", text, "name of the route"},
		{"upstream", text, "name of the upstream"},
		{"endpoint", text, "host:port of the endpoint"},
		{"method", text, "request method"},
		{"host", text, "host asked for; * stands for any text"},
		{"path", text, "path asked for; * stands for any text"},
		{"caller", text, "uid, user name or unknown"},
		{"status", text, "404, 5xx or 400-499, or several with commas"},
		{"class", text, "error class, or several with commas, or any"},
		{"fault", text, "client, upstream or self"},
		{"min", duration, "took at least so long"},
		{"max", duration, "took at most so long"},
	}
)
