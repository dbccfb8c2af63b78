package admin

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// MetricsAccess says who may read the metrics on TCP: whoever shows the token, and
// the callers. Root and the daemon's own user always may.
type MetricsAccess struct {
	Token   Token
	Callers caller.Set
}

// MetricsOptions say what a MetricsServer is made of.
type MetricsOptions struct {
	// Metrics writes the Prometheus text format.
	Metrics func(io.Writer) error
	Access  MetricsAccess
	Log     *slog.Logger // takes refusals, at most ten a minute
	// Who and UID are those of Options.
	Who func(net.Conn) (caller.Caller, error)
	UID func(net.Conn) (uint32, error)
}

// MetricsServer serves /metrics, and nothing else, to scrapers on this host that
// speak no unix sockets. Make one with NewMetrics.
type MetricsServer struct {
	engine
	access  atomic.Pointer[MetricsAccess]
	denials quota
}

// NewMetrics makes a server. Close ends it.
func NewMetrics(o MetricsOptions) *MetricsServer {
	s := new(MetricsServer)
	s.Use(o.Access)
	s.engine.init(o.Log, callers{o.Who, o.UID}, s.permit, []route{metrics(scrape, o.Metrics)})
	return s
}

// Use replaces the permissions.
func (s *MetricsServer) Use(a MetricsAccess) { s.access.Store(&a) }

// Serve answers on l until Close, which makes it return nil. It closes l.
func (s *MetricsServer) Serve(l net.Listener) error { return s.engine.serve(l) }

// Close stops listening and gives requests that have begun a few seconds.
func (s *MetricsServer) Close() { s.engine.close() }

// Limits tells the server's own bounds with their use.
func (s *MetricsServer) Limits() []api.Limit { return s.engine.limits("metrics listener")[:1] }

// permit returns why the client of c may not read the metrics.
func (s *MetricsServer) permit(c *call, needs permission) *api.Error {
	a := s.access.Load()
	if a.Token.matches(bearer(c.r)) {
		return nil
	}
	who, err := c.conn.who()
	if err == nil && (master(who) || a.Callers.Allows(who)) {
		return nil
	}
	c.denied(&s.denials, needs, who, err)
	if !a.Token.known {
		return &api.Error{Class: api.NotPermitted, Message: "you may not read the metrics here", Hint: "[metrics] in the configuration says who may"}
	}
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="mtlsproxy metrics"`)
	return &api.Error{
		Class:   api.Unauthenticated,
		Message: "the metrics are for those who show the token",
		Hint:    "send Authorization: Bearer with what is in the file that [metrics] names, or have [metrics] allow the caller",
	}
}

// bearer returns the token that a request shows, or "", RFC 6750 2.1.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
