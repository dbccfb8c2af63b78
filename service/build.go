package service

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// upstreamOptions is what tlsclient needs to know of an upstream.
func (s *Service) upstreamOptions(u *config.Upstream, l *config.Limits) (tlsclient.Options, error) {
	o := tlsclient.Options{
		Name:             u.Name,
		ServerName:       u.ServerName,
		MinVersion:       u.TLSMin,
		MaxConns:         u.Pool.Max,
		MaxIdle:          u.Pool.Idle,
		IdleTimeout:      u.Pool.IdleTimeout,
		MaxAge:           u.Pool.MaxAge,
		PoolWait:         u.Pool.Wait,
		ConnectTimeout:   u.Timeout.Connect,
		HandshakeTimeout: u.Timeout.Handshake,
		HeaderTimeout:    u.Timeout.ResponseHeader,
		BodyIdleTimeout:  u.Timeout.Idle,
		TotalTimeout:     u.Timeout.Total,
		ResolveInterval:  u.ResolveInterval,
		RetireTimeout:    u.Pool.RetireTimeout,
		Limits:           http1.Limits{Head: int(l.UpstreamHeaderBytes), Fields: l.HeaderFields, Target: int(l.TargetBytes)},
		Retry:            tlsclient.RetryOptions{Attempts: u.Retry.Attempts, Percent: u.Retry.BudgetPercent, Min: u.Retry.BudgetMin},
		Breaker:          tlsclient.BreakerOptions(u.Breaker),
		Health:           tlsclient.HealthOptions(u.Health),
		Source:           u.Source,
		Buffers:          &s.buffers,
		Memory:           s.bounds.memory,
	}
	if u.Via != nil {
		o.Via = &tlsclient.Via{Address: tlsclient.Address{Host: u.Via.Host, Port: u.Via.Port}}
	}
	if u.ViaCredentials != "" {
		var err error
		if o.Via.Credentials, err = tlsclient.ReadCredentials(u.ViaCredentials); err != nil {
			return o, fmt.Errorf("upstream %q: %w", u.Name, err)
		}
	}
	for _, e := range u.Endpoints {
		o.Endpoints = append(o.Endpoints, tlsclient.Address{Host: e.Host, Port: e.Port})
	}
	for _, san := range u.VerifySAN {
		pin, err := tlsclient.ParsePin(san.String())
		if err != nil {
			return o, fmt.Errorf("upstream %q: %w", u.Name, err)
		}
		o.Pins = append(o.Pins, pin)
	}
	return o, nil
}

func frontLimits(l *config.Limits) front.Limits {
	return front.Limits{
		Limits:        http1.Limits{Head: int(l.HeaderBytes), Fields: l.HeaderFields, Target: int(l.TargetBytes)},
		HeaderTimeout: l.HeaderTimeout,
		IdleTimeout:   l.IdleTimeout,
		BodyTimeout:   l.BodyIdleTimeout,
		EachCaller:    l.ConnectionsPerCaller > 0,
	}
}

// planRoutes translates the routes, but for their upstreams, meters and limits.
func planRoutes(c *config.Config, upstreams map[string]*upstream, callers []caller.Set) []*proxy.Route {
	var out []*proxy.Route
	for i := range c.Routes {
		r := planRoute(&c.Routes[i], upstreams[c.Routes[i].Upstream])
		r.Callers = callers[i]
		out = append(out, r)
	}
	return out
}

func planRoute(r *config.Route, u *upstream) *proxy.Route {
	route := &proxy.Route{
		Name:           r.Name,
		Listeners:      r.Listeners,
		Path:           r.Path,
		Methods:        r.Methods,
		HostHeader:     hostHeader(r, &u.config),
		StripPrefix:    r.StripPrefix,
		Replace:        r.ReplacePrefix,
		RequestSet:     settings(r.RequestHeaders.Set),
		RequestRemove:  folded(r.RequestHeaders.Remove),
		ResponseSet:    settings(r.ResponseHeaders.Set),
		ResponseRemove: folded(r.ResponseHeaders.Remove),
		Forwarded:      r.Forwarded,
		AcceptID:       r.RequestID == config.RequestIDAccept,
		WebSocket:      slices.Contains(r.Upgrade, "websocket"),
		TunnelIdle:     u.config.Timeout.Tunnel,
		CrossSite:      r.CrossSite,
		Retry:          retryPolicy(&r.Retry),
	}
	for _, h := range r.Hosts {
		route.Hosts = append(route.Hosts, h.String())
	}
	return route
}

// retryPolicy is when the requests of a route are sent again, or nil if it says nothing.
func retryPolicy(r *config.RouteRetry) *tlsclient.RetryPolicy {
	if r.Attempts == 0 && len(r.Statuses) == 0 && len(r.Methods) == 0 && r.PerTry == 0 {
		return nil
	}
	return &tlsclient.RetryPolicy{Attempts: r.Attempts, Statuses: r.Statuses, Methods: r.Methods, PerTry: r.PerTry}
}

// hostHeader is the Host that a route sends upstream, or "" for the client's.
func hostHeader(r *config.Route, u *config.Upstream) string {
	switch r.HostHeader {
	case config.HostHeaderClient:
		return ""
	case config.HostHeaderUpstream:
	default:
		return r.HostHeader
	}
	first := u.Endpoints[0]
	host := u.ServerName
	if host == "" {
		host = first.Host
	}
	if first.Port != 443 {
		return net.JoinHostPort(host, fmt.Sprint(first.Port))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func settings(set []config.Header) []proxy.Setting {
	var out []proxy.Setting
	for _, h := range set {
		out = append(out, proxy.Set(h.Name, h.Value))
	}
	return out
}

func folded(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, http1.Fold(n))
	}
	return out
}
