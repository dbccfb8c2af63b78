package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// reloading asks for a reload.
type reloading struct {
	by    string // "signal", "watch", "systemctl reload" or "uid 1000"
	reply chan<- api.Reload
}

// errNoReload is why a daemon that cannot load its configuration anew does not reload.
var errNoReload = errors.New("this daemon was started without a way to load its configuration again")

// trigger asks for a reload without waiting for it. One that is asked for already,
// and has not begun, will see whatever this one would.
func (s *Service) trigger(by string) {
	select {
	case s.reloads <- reloading{by: by}:
	default:
	}
}

// reloadFor asks for a reload and waits for its outcome.
func (s *Service) reloadFor(ctx context.Context, by string) (api.Reload, error) {
	reply := make(chan api.Reload, 1)
	select {
	case s.reloads <- reloading{by: by, reply: reply}:
	case <-s.leaving:
		return api.Reload{}, errTooLate()
	case <-ctx.Done():
		return api.Reload{}, ctx.Err()
	}
	select {
	case r := <-reply:
		return r, nil
	case <-s.leaving:
		return api.Reload{}, errTooLate()
	case <-ctx.Done():
		return api.Reload{}, ctx.Err()
	}
}

// asker names who asks over the admin API. The user of a system service is nobody who logs
// in: it is ExecReload= of the unit that comes under that one.
func (s *Service) asker(by string) string {
	system := sd.UnderSystemd(s.Getenv) && s.Getenv("XDG_RUNTIME_DIR") == "" // which the services of a user have
	if own := os.Geteuid(); system && own != 0 && by == fmt.Sprintf("uid %d", own) {
		return "systemctl reload"
	}
	return by
}

func errTooLate() error {
	return &api.Error{Class: api.Refused, Message: "the daemon is ending", Hint: "start it again; it loads the configuration then"}
}

// reload loads the configuration and all files it names, and goes over to them if
// nothing is wrong. Otherwise nothing changes.
func (s *Service) reload(r reloading) {
	s.phase.enter(Reloading, "by", r.by, "event", journal.Reloading)
	begun := time.Now()
	changes, err := s.tryReload()
	s.disk.forget()
	outcome := api.Reload{Time: begun.UTC(), By: r.by, OK: err == nil, Changes: changes, Seconds: time.Since(begun).Seconds()}
	if err == nil {
		outcome.Notes = s.Notes()
	} else {
		outcome.Errors = Lines(err)
		for _, line := range outcome.Errors {
			s.Log.Error("reload failed; nothing has changed", "event", "reload_failed", "by", r.by, "error", line)
		}
	}
	s.history.add(outcome)
	attrs := []any{"reloaded", err == nil, "by", r.by, "changes", len(changes), "took", time.Since(begun).Round(time.Millisecond)}
	if err == nil {
		s.phase.enter(Running, append(attrs, "event", journal.Reloaded)...)
	} else {
		s.phase.enterAs(Running, "running as before", append(attrs, "event", journal.ReloadAborted)...)
	}
	if r.reply != nil {
		r.reply <- outcome
	}
}

func (s *Service) tryReload() ([]api.Change, error) {
	old := s.world.Load()
	c, err := s.load()
	if err != nil {
		return []api.Change{}, err
	}
	next, err := s.build(c, old)
	if err != nil {
		return []api.Change{}, err
	}
	return s.goOver(next, old)
}

// goOver takes over the next world, unless the daemon began to end meanwhile.
func (s *Service) goOver(next, old *world) ([]api.Change, error) {
	s.committing.Lock()
	defer s.committing.Unlock()
	if s.hasLeft() {
		return []api.Change{}, errTooLate()
	}
	if err := s.listen(next, old); err != nil {
		return []api.Change{}, err
	}
	changes := s.changes(old, next)
	s.record(next)
	s.narrow(next, old)
	s.adopt(next, old)
	s.serve(next, old)
	return changes, nil
}

// load reads the configuration as a start would.
func (s *Service) load() (*config.Config, error) {
	if s.Load == nil {
		return nil, errNoReload
	}
	c, err := s.Load()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// check finds out what a reload would do.
func (s *Service) check(by string) api.Reload {
	begun := time.Now()
	old := s.world.Load()
	out := api.Reload{Time: begun.UTC(), By: by, Changes: []api.Change{}}
	c, err := s.load()
	if err == nil {
		var next *world
		if next, err = s.build(c, old); err == nil {
			out.Changes, out.Notes = s.changes(old, next), next.access.notes()
		}
	}
	out.OK, out.Seconds = err == nil, time.Since(begun).Seconds()
	if err != nil {
		out.Errors = Lines(err)
	}
	return out
}

// changes tells what is different in next, and what becomes of connections.
func (s *Service) changes(old, next *world) []api.Change {
	out := []api.Change{}
	for _, c := range config.Diff(old.config, next.config) {
		change := api.Change{Key: c.Key, Old: c.Old, New: c.New, Source: c.Source, Effect: effect(c.Key, old, next)}
		if strings.Contains(c.Key, "_headers.set.") { // they often are credentials
			change.Old, change.New = hidden(c.Old), hidden(c.New)
		}
		out = append(out, change)
	}
	out = append(out, changedContents(old, next)...)
	for _, id := range next.config.Identities {
		was, found := old.identities[id.Name], next.identities[id.Name].found.Generation
		if was != nil && found != nil && was.Generation() != found {
			change := api.Change{
				Key: "identity." + id.Name, Old: serialText(was.Generation()), New: serialText(found),
				Source: next.identities[id.Name].Path(), Effect: "new connections show it; old ones end after their exchange",
			}
			if change.Old == change.New {
				change.New += " with another chain, ca, crl or place of the key"
			}
			out = append(out, change)
		}
	}
	return out
}

// changedContents tells which files hold other secrets than before, in the same place.
func changedContents(old, next *world) []api.Change {
	var out []api.Change
	add := func(key, path, effect string) {
		const secret = "(hidden)"
		out = append(out, api.Change{Key: key + " (contents)", Old: secret, New: secret, Source: path, Effect: effect})
	}
	for i := range next.config.Upstreams {
		c := &next.config.Upstreams[i]
		was, now := old.upstreams[c.Name], next.upstreams[c.Name]
		if was == nil || c.ViaCredentials == "" || was.config.ViaCredentials != c.ViaCredentials {
			continue
		}
		if was.options.Via.Credentials != now.options.Via.Credentials {
			add("upstream."+c.Name+".via_credentials_file", c.ViaCredentials, "for connections to come")
		}
	}
	if path := next.config.Metrics.TokenFile; path != "" && path == old.config.Metrics.TokenFile && old.access.metrics.Token != next.access.metrics.Token {
		add("metrics.token_file", path, "in place")
	}
	return out
}

func serialText(g *tlsclient.Generation) string {
	if g == nil {
		return ""
	}
	return "serial " + g.Serial()
}

// hidden stands for a value that is not shown to everybody who may look.
func hidden(value string) string {
	if value == "" {
		return ""
	}
	return "(hidden)"
}

// effect is what a change of key does to what is under way.
func effect(key string, old, next *world) string {
	table, rest, _ := strings.Cut(key, ".")
	switch table {
	case "upstream":
		name := tableName(rest)
		before, now := old.upstreams[name], next.upstreams[name]
		switch {
		case before == nil:
			return "new upstream"
		case now == nil:
			return "its connections close after their exchanges"
		case before.client != now.client || strings.HasSuffix(key, ".identity"):
			return "new connections; old ones close after their exchanges"
		case strings.HasSuffix(key, ".pool.max_age"):
			return "for connections to come"
		}
		return "in place"
	case "listener":
		return "connections of listeners that stay go on"
	case "log":
		if rest == "buffer" {
			return "with the next start"
		}
		return "in place"
	case "admin", "metrics", "limits", "drain", "reload":
		return "in place"
	case "route":
		return "for exchanges to come"
	case "identity":
		return "for connections to come"
	}
	return ""
}

// tableName is the first part of a dotted key, which may be quoted.
func tableName(key string) string {
	if quoted, ok := strings.CutPrefix(key, `"`); ok {
		name, _, _ := strings.Cut(quoted, `"`)
		return name
	}
	name, _, _ := strings.Cut(key, ".")
	return name
}

// history remembers reloads.
type history struct {
	mu     sync.Mutex
	ok     uint64
	failed uint64
	last   *api.Reload
}

func (h *history) add(r api.Reload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.OK {
		h.ok++
	} else {
		h.failed++
	}
	h.last = &r
}

// outcomes is a history at one moment.
type outcomes struct {
	ok, failed uint64
	last       *api.Reload // nil: there was none
}

func (h *history) get() outcomes {
	h.mu.Lock()
	defer h.mu.Unlock()
	return outcomes{h.ok, h.failed, h.last}
}

// healthy reports whether the last reload succeeded.
func (o outcomes) healthy() bool { return o.last == nil || o.last.OK }
