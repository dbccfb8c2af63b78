package service

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// world is everything that one configuration makes. A reload builds the next one
// beside the one that runs, takes over from that what stays the same, and retires
// the rest. What a world holds does not change once it is adopted.
type world struct {
	config     *config.Config
	loaded     time.Time
	identities map[string]*member
	upstreams  map[string]*upstream
	routes     []*proxy.Route // in the order of config
	table      *proxy.Table
	access     access

	listeners   []wanted
	operator    []*operatorListener
	unreachable error    // why there is no admin socket in its default place
	records     *records // nil: the request log is off
	unlogged    string   // why it is, unless the configuration says so
}

// upstream is a running upstream and what it was made from.
type upstream struct {
	config  config.Upstream
	options tlsclient.Options
	client  *tlsclient.Upstream // nil until adopt, unless it is that of the world before
	users   *proxy.Users
}

// build makes the world of c, except what has to be opened or started. It reads the
// files that c names and has no other effect; what is wrong with any of them is in the
// error.
func (s *Service) build(c *config.Config, old *world) (*world, error) {
	now := time.Now()
	w := &world{config: c, loaded: now, upstreams: make(map[string]*upstream)}
	var errs [4]error
	w.identities, errs[0] = s.tryIdentities(c, old, now)
	plans, err := s.planUpstreams(c)
	errs[1] = err
	w.access, errs[2] = s.settleAccess(c)
	callers, err := w.access.settleCallers(c)
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		w.upstreams[u.Name] = planUpstream(u, plans[i], w.identities[u.Identity], old.upstreams[u.Name])
	}
	w.routes = planRoutes(c, w.upstreams, callers)
	if w.table, err = proxy.NewTable(w.routes); err != nil {
		return nil, err
	}
	w.table.Query = c.Log.Query
	return w, nil
}

// planUpstreams translates all upstreams, so that nothing can go wrong later.
func (s *Service) planUpstreams(c *config.Config) ([]tlsclient.Options, error) {
	var plans []tlsclient.Options
	var errs []error
	for i := range c.Upstreams {
		o, err := s.upstreamOptions(&c.Upstreams[i], &c.Limits)
		o.Suspected = s.suspect(&c.Upstreams[i])
		o.Rejected = func() { s.tender.Ask(c.Upstreams[i].Identity) } // perhaps there are new files already
		plans, errs = append(plans, o), append(errs, err)
	}
	return plans, errors.Join(errs...)
}

// planUpstream keeps the client of an upstream whose connections stay as they are. It
// must not go on with the certificate of another identity for want of its own.
func planUpstream(c *config.Upstream, o tlsclient.Options, m *member, old *upstream) *upstream {
	u := &upstream{config: *c, options: o}
	if old != nil && old.client.Options().Alike(&o) && (old.config.Identity == c.Identity || m.found.Err == nil) {
		u.client, u.users = old.client, old.users
	}
	return u
}

// adopt makes w the world for all exchanges that begin from now on, and retires
// what of the old one is not part of it. It cannot fail.
func (s *Service) adopt(w, old *world) {
	s.front.Limit(frontLimits(&w.config.Limits))
	s.boundConnections(w.config)
	s.outgoing.add(old.without(w))
	s.startUpstreams(w)
	for i, r := range w.routes {
		c := &w.config.Routes[i]
		r.Upstream, r.Users = w.upstreams[c.Upstream].client, w.upstreams[c.Upstream].users
		r.Meter, r.FirstByte = s.meters.route(c.Name, c.Upstream), s.meters.upstream(c.Upstream)
		r.Limit = s.bounds.route(c.Name, &c.Limit, w.loaded)
	}
	w.nameListeners()
	s.grant(w.access)
	s.orders.Lock() // what was drained by hand until now stays so
	w.takeDrains(old)
	s.world.Store(w)
	s.orders.Unlock()
	old.unstage(w)
	retired := s.proxy.Use(w.table)
	s.meters.forget(w.config)
	s.bounds.forget(w.config)
	before, done := s.settled, make(chan struct{})
	s.settled = done
	s.retired.Go(func() { s.retire(retired, old, w, before, done) })
}

// startUpstreams gives every upstream of w a client and what it is to show.
func (s *Service) startUpstreams(w *world) {
	for _, u := range w.upstreams {
		if u.client == nil {
			u.client, u.users = tlsclient.NewUpstream(u.options), proxy.NewUsers()
			continue
		}
		u.client.Tune(u.options)
	}
	for _, m := range w.identities {
		s.take(w, m, m.found)
	}
}

// takeDrains drains what was drained by hand in the upstreams that w has anew.
func (w *world) takeDrains(old *world) {
	for name, u := range w.upstreams {
		before := old.upstreams[name]
		if before == nil || before.client == u.client {
			continue
		}
		for _, e := range before.client.State().Endpoints {
			if e.Drained {
				u.client.Drain(e.Address)
			}
		}
	}
}

// retire closes what only the old world has, each when the last exchange that uses it
// has ended. None can begin to once nobody looks for a route in the old table, nor in
// those before it.
func (s *Service) retire(t *proxy.Table, old, w *world, before <-chan struct{}, done chan<- struct{}) {
	<-before
	<-t.Unused()
	close(done)
	var closing sync.WaitGroup
	for _, u := range old.without(w) {
		closing.Go(func() {
			u.users.Retire()
			s.unused(u.users)
			u.client.Close()
			s.outgoing.remove(u)
		})
	}
	if old.records != nil && old.records != w.records {
		closing.Go(func() { s.logs.retire(old.records, s.ending) })
	}
	closing.Wait()
}

// unused waits for the end of those who use something, or of the daemon.
func (s *Service) unused(u *proxy.Users) {
	select {
	case <-u.Unused():
	case <-s.ending:
	}
}

// without returns the upstreams that other does not have.
func (w *world) without(other *world) []*upstream {
	var dropped []*upstream
	for name, u := range w.upstreams {
		if o := other.upstreams[name]; u.client != nil && (o == nil || o.client != u.client) {
			dropped = append(dropped, u)
		}
	}
	return dropped
}

// discard gives up a world that was not adopted, but for what it has of old.
func (w *world) discard(old *world) {
	for _, u := range w.without(old) {
		u.client.Close()
	}
	for _, p := range w.listeners {
		if !old.serves(p.listener) {
			_ = p.Close() // nothing was accepted on it
		}
	}
	for _, l := range w.operator {
		if !slices.Contains(old.operator, l) {
			_ = l.Close() // nothing was accepted on it
		}
	}
}

// close ends everything.
func (w *world) close() {
	w.discard(new(world))
}
