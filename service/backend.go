package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// backend is the service as the admin API sees it.
type backend struct{ *Service }

// Version implements admin.Viewer.
func (b backend) Version() api.Version {
	return api.Version{Version: b.Service.Version, Go: runtime.Version(), API: "v1", PID: os.Getpid()}
}

// Status implements admin.Viewer.
func (b backend) Status(context.Context) api.Status {
	s := api.Status{
		Version: b.Version(), Phase: b.phase.present().String(), Since: b.started.UTC(),
		Health: b.Health(), Config: b.config(), Listeners: b.listeners(), Routes: b.Routes(),
		Upstreams: b.Upstreams(), Identities: b.Identities(), Connections: b.front.Connections(),
		Log: b.LogStats(), Level: b.Level(),
	}
	t := b.meters.totals()
	for _, u := range b.overruled(b.world.Load().config) {
		s.Notes = append(s.Notes, u.text)
	}
	s.Requests, s.Errors, s.InFlight = t.requests, t.errors, t.inFlight
	return s
}

// config compares what runs with what is on disk.
func (b backend) config() api.Config {
	w, h := b.world.Load(), b.history.get()
	c := api.Config{
		File: b.File, Running: w.config.Digest(), Loaded: w.loaded.UTC(),
		Reloads: h.ok, Failed: h.failed, LastReload: h.last,
	}
	b.disk.forget() // whoever asks has often just changed it
	onDisk, err := b.onDisk()
	if err != nil {
		c.Error, c.Differs = strings.Join(Lines(err), "; "), true
		return c
	}
	c.OnDisk = onDisk.Digest()
	c.Differs = c.OnDisk != c.Running
	return c
}

func (b backend) listeners() []api.Listener {
	out := []api.Listener{}
	for _, l := range b.world.Load().listeners {
		out = append(out, api.Listener{Name: l.Name(), Address: l.Addr().String(), Connections: l.Open(), Accepted: l.Accepted()})
	}
	return out
}

// Routes implements admin.Viewer.
func (b backend) Routes() []api.Route {
	out := []api.Route{}
	for _, r := range b.world.Load().config.Routes {
		c := b.meters.counts(r.Name, r.Upstream)
		route := api.Route{
			Name: r.Name, Listeners: filled(r.Listeners), Hosts: []string{}, Path: r.Path, Methods: filled(r.Methods),
			Callers: filled(r.Callers), Upstream: r.Upstream, InFlight: c.InFlight,
			Requests: c.Requests(), Errors: c.Failed(), BytesIn: c.BytesIn, BytesOut: c.BytesOut,
		}
		for _, h := range r.Hosts {
			route.Hosts = append(route.Hosts, h.String())
		}
		out = append(out, route)
	}
	return out
}

// filled is a list that is not null in JSON.
func filled(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Connections implements admin.Viewer.
func (b backend) Connections() []api.Connection {
	out := []api.Connection{}
	for _, i := range b.front.List() {
		c := api.Connection{
			ID: i.Number, Listener: i.Listener, Since: i.Since.UTC(), State: "active", Route: i.Route,
			Exchanges: i.Exchanges, BytesIn: uint64(i.BytesIn), BytesOut: uint64(i.BytesOut),
		}
		if i.Remote.Network() == "tcp" {
			c.Remote = i.Remote.String()
		}
		switch {
		case i.Tunnel:
			c.State = "tunnel"
		case i.Idle:
			c.State = "idle"
		}
		if i.Caller >= 0 {
			uid := uint32(i.Caller)
			c.Caller = &uid
		}
		if i.Remote.Network() == "unix" {
			if who, err := b.diag.Of(i.Conn); err == nil {
				c.Caller, c.PID = &who.UID, int(who.PID)
			}
		}
		out = append(out, c)
	}
	return out
}

// Level implements admin.Viewer.
func (b backend) Level() string { return levelName(b.Service.Level.Level()) }

// SetLevel implements admin.Operator.
func (b backend) SetLevel(level string) error {
	for _, l := range levels() {
		if levelName(l) == level {
			b.Service.Level.Set(l)
			return nil
		}
	}
	return &api.Error{Class: api.BadRequest, Message: fmt.Sprintf("unknown level %q", level), Hint: "debug, info, warn or error"}
}

// Metrics implements admin.Viewer.
func (b backend) Metrics(w io.Writer) error { return b.writeMetrics(w) }

// Check implements admin.Viewer.
func (b backend) Check(context.Context) (api.Reload, error) { return refusedUnlessOK(b.check("check")) }

// Reload implements admin.Operator.
func (b backend) Reload(ctx context.Context, by string) (api.Reload, error) {
	r, err := b.reloadFor(ctx, b.asker(by))
	if err != nil {
		return r, err
	}
	return refusedUnlessOK(r)
}

func refusedUnlessOK(r api.Reload) (api.Reload, error) {
	if r.OK {
		return r, nil
	}
	return r, &api.Error{
		Class: api.Refused, Message: "the configuration could not be loaded; nothing has changed", Details: r.Errors,
		Hint: "mend what is wrong and reload again",
	}
}

// Drain implements admin.Operator.
func (b backend) Drain(t api.Target) (api.Changed, error) {
	return b.order(t, "no new exchanges for", func(u *upstream) []string { return u.client.Drain(t.Endpoint) })
}

// Resume implements admin.Operator.
func (b backend) Resume(t api.Target) (api.Changed, error) {
	return b.order(t, "exchanges again for", func(u *upstream) []string { return u.client.Resume(t.Endpoint) })
}

// ResetBreaker implements admin.Operator.
func (b backend) ResetBreaker(t api.Target) (api.Changed, error) {
	return b.order(t, "failures forgotten of", func(u *upstream) []string { return u.client.Reset(t.Endpoint) })
}

// order does something to endpoints.
func (b backend) order(t api.Target, what string, do func(*upstream) []string) (api.Changed, error) {
	b.orders.Lock() // a reload carries over what has been ordered
	defer b.orders.Unlock()
	w := b.world.Load()
	u := w.upstreams[t.Upstream]
	if u == nil {
		var names []string
		for _, c := range w.config.Upstreams {
			names = append(names, c.Name)
		}
		return api.Changed{}, &api.Error{
			Class: api.NotFound, Message: fmt.Sprintf("there is no upstream %q", t.Upstream), Hint: "there are: " + strings.Join(names, ", "),
		}
	}
	targets := do(u)
	if len(targets) == 0 {
		var names []string
		for _, e := range u.config.Endpoints {
			names = append(names, e.String())
		}
		return api.Changed{}, &api.Error{
			Class: api.NotFound, Message: fmt.Sprintf("upstream %q has no endpoint %q", t.Upstream, t.Endpoint), Hint: "it has: " + strings.Join(names, ", "),
		}
	}
	return api.Changed{Message: fmt.Sprintf("%s %d of %d endpoints of upstream %q", what, len(targets), len(u.config.Endpoints), t.Upstream), Targets: targets}, nil
}

// Events implements admin.Streamer.
func (b backend) Events(ctx context.Context, count int, follow bool, each func(*api.Event) error, lost func(uint64) error) error {
	return b.events(ctx, count, follow, each, lost)
}

// ago is how long ago t was, for a person.
func ago(t time.Time) string { return time.Since(t).Round(time.Second).String() + " ago" }

// levelName is a level as the API and the command line write it.
func levelName(l slog.Level) string { return strings.ToLower(l.String()) }
