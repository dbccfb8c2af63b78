package service

import (
	"errors"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// world is everything that one configuration makes. A reload builds the next one
// beside the one that runs, takes over from that what stays the same, and retires
// the rest. What a world holds does not change once it is adopted.
type world struct {
	config     *config.Config
	loaded     time.Time
	identities map[string]*identity
	upstreams  map[string]*upstream
	table      *proxy.Table
	access     access

	listeners   []*listener
	operator    []*operatorListener
	unreachable error    // why there is no admin socket in its default place
	records     *records // nil: the request log is off
	unlogged    string   // why it is, unless the configuration says so
}

// upstream is a running upstream and what it was made from.
type upstream struct {
	config     config.Upstream
	options    tlsclient.Options
	client     *tlsclient.Upstream
	generation *tlsclient.Generation
}

// build makes the world of c, except what has to be opened. It reads the files that
// c names and has no other effect; what is wrong with any of them is in the error.
func (s *Service) build(c *config.Config, old *world) (*world, error) {
	now := time.Now()
	w := &world{config: c, loaded: now, upstreams: make(map[string]*upstream)}
	var errs [3]error
	w.identities, errs[0] = loadIdentities(c, old.identities, now)
	plans, err := s.planUpstreams(c)
	errs[1] = err
	w.access, errs[2] = s.settleAccess(c)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		w.upstreams[u.Name] = planUpstream(u, plans[i], w.identities[u.Identity].generation, old.upstreams[u.Name])
	}
	if w.table, err = s.routes(c, w.upstreams); err != nil {
		w.discard(old)
		return nil, err
	}
	return w, nil
}

// planUpstreams translates all upstreams, so that nothing can go wrong later.
func (s *Service) planUpstreams(c *config.Config) ([]tlsclient.Options, error) {
	var plans []tlsclient.Options
	var errs []error
	for i := range c.Upstreams {
		o, err := upstreamOptions(&c.Upstreams[i], &c.Limits, &s.buffers)
		plans, errs = append(plans, o), append(errs, err)
	}
	return plans, errors.Join(errs...)
}

// planUpstream keeps the client of an upstream whose connections stay as they are,
// and makes a new one otherwise.
func planUpstream(c *config.Upstream, o tlsclient.Options, g *tlsclient.Generation, old *upstream) *upstream {
	u := &upstream{config: *c, options: o, generation: g}
	if old != nil && old.client.Options().Alike(&o) {
		u.client = old.client
		return u
	}
	u.client = tlsclient.NewUpstream(o)
	u.client.Use(g)
	if old != nil {
		for _, e := range old.client.State().Endpoints {
			if e.Drained { // by hand, which outlives a reload
				u.client.Drain(e.Address)
			}
		}
	}
	return u
}

// adopt makes w the world for all exchanges that begin from now on, and retires
// what of the old one is not part of it. It cannot fail.
func (s *Service) adopt(w, old *world) {
	s.front.Limit(frontLimits(&w.config.Limits))
	for name, u := range w.upstreams {
		if before := old.upstreams[name]; before != nil && before.client == u.client {
			u.client.Tune(u.options)
			if before.generation != u.generation {
				u.client.Use(u.generation)
			}
		}
	}
	s.grant(w.access)
	s.world.Store(w)
	retired := s.proxy.Use(w.table)
	s.meters.forget(w.config)
	s.retired.Go(func() { s.retire(retired, old, w) })
}

// retire closes what only the old world has, once the last exchange that may use it
// has ended.
func (s *Service) retire(t *proxy.Table, old, w *world) {
	select {
	case <-t.Unused():
	case <-s.ending:
	}
	for _, u := range old.without(w) {
		u.client.Close()
	}
	if old.records != nil && old.records != w.records {
		old.records.close()
	}
}

// without returns the upstreams that other does not have.
func (w *world) without(other *world) []*upstream {
	var dropped []*upstream
	for name, u := range w.upstreams {
		if o := other.upstreams[name]; o == nil || o.client != u.client {
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
	for _, l := range w.listeners {
		if !slices.Contains(old.listeners, l) {
			_ = l.Close() // nothing was accepted on it
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
	if w.records != nil {
		w.records.close()
	}
}

// listener is a listener of the configuration.
type listener struct {
	*front.Listener
	key  string // what it was made from
	unix bool
}

// records is the request log.
type records struct {
	*journal.Log
	directory string
}
