package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// Route maps requests to an upstream.
type Route struct {
	Name      string
	Listeners []string // names; empty: all
	Hosts     []string // "name", "name:port", "*.suffix" or "*"; at least one
	Path      string   // a prefix in whole segments; "/" for every path
	Methods   []string // empty: all
	Upstream  *tlsclient.Upstream
	Users     *Users // of the upstream

	HostHeader  string // the Host sent upstream; empty: the client's
	StripPrefix bool   // take Path off
	Replace     string // or put this in its place; empty: leave it

	RequestSet     []Setting
	RequestRemove  []string // as http1.Fold makes them
	ResponseSet    []Setting
	ResponseRemove []string // as http1.Fold makes them

	Forwarded bool // tell the upstream of the client in Forwarded and X-Forwarded-*
	AcceptID  bool // take the client's X-Request-Id for the exchange's
	WebSocket bool // pass upgrades to websocket

	Callers   caller.Set // who may use it
	CrossSite bool       // web pages of other sites may
	Limit     Limit
	Retry     *tlsclient.RetryPolicy // nil: only what is always safe

	TunnelIdle time.Duration // the longest silence in a tunnel; 0: no bound

	Meter     *Meter
	FirstByte *metrics.PrometheusHistogram // of the upstream, in seconds
}

// Setting is a field that a route sets in place of whatever there is by its name.
type Setting struct {
	http1.Field
	lower string // as http1.Fold makes it
}

// Set makes a Setting.
func Set(name, value string) Setting {
	return Setting{http1.Field{Name: []byte(name), Value: []byte(value)}, http1.Fold(name)}
}

// Table finds routes. It is immutable once a Proxy uses it.
type Table struct {
	Records   Recorder // where records go; nil: nowhere
	Recording *Users   // of Records
	Query     bool     // records keep the query of targets
	// Listeners are the names that routes know listeners by. They stand here so that
	// they change together with the routes. One that is missing has its own name.
	Listeners map[*front.Listener]string

	users *Users // exchanges that have not found their route yet

	exact  map[string][]*entry // by host without its port
	suffix []*entry            // *.suffix, the longest first
	any    []*entry
	size   int // routes
}

// Recorder keeps records. Add must copy what it keeps, and never wait.
type Recorder interface {
	Add(*journal.Record)
}

// Unused is closed once the table was retired and nobody looks for a route in it.
func (t *Table) Unused() <-chan struct{} { return t.users.Unused() }

// listener is the name of the listener that an exchange came by.
func (t *Table) listener(l *front.Listener) string {
	if name, ok := t.Listeners[l]; ok {
		return name
	}
	return l.Name()
}

// entry is one host of a route.
type entry struct {
	*Route
	host string // without port, lower case; for a wildcard ".suffix"
	port string
}

// NewTable orders the routes: an exact host with port before one without, before
// the longer wildcard, before "*"; then the longer path, then a list of methods,
// then a list of listeners.
func NewTable(routes []*Route) (*Table, error) {
	t := emptyTable()
	t.size = len(routes)
	for _, r := range routes {
		for _, pattern := range r.Hosts {
			if err := t.add(r, pattern); err != nil {
				return nil, err
			}
		}
	}
	for _, list := range t.exact {
		slices.SortStableFunc(list, compare)
	}
	slices.SortStableFunc(t.suffix, compare)
	slices.SortStableFunc(t.any, compare)
	return t, nil
}

func emptyTable() *Table {
	return &Table{exact: make(map[string][]*entry), users: NewUsers()}
}

func (t *Table) add(r *Route, pattern string) error {
	host, port, ok := http1.SplitAuthority([]byte(strings.ToLower(pattern)))
	if !ok {
		return fmt.Errorf("route %q: %q is not a host", r.Name, pattern)
	}
	e := &entry{Route: r, host: strings.TrimSuffix(string(host), "."), port: string(port)}
	switch {
	case e.host == "*":
		t.any = append(t.any, e)
	case strings.HasPrefix(e.host, "*."):
		e.host = e.host[1:]
		t.suffix = append(t.suffix, e)
	default:
		t.exact[e.host] = append(t.exact[e.host], e)
	}
	return nil
}

// compare puts the more specific entry first.
func compare(a, b *entry) int {
	for _, d := range []int{
		len(b.host) - len(a.host),
		flag(b.port != "") - flag(a.port != ""),
		len(b.Path) - len(a.Path),
		flag(len(b.Methods) > 0) - flag(len(a.Methods) > 0),
		flag(len(b.Listeners) > 0) - flag(len(a.Listeners) > 0),
	} {
		if d != 0 {
			return d
		}
	}
	return 0
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// query is what a route is looked up by.
type query struct {
	listener   string
	host, port []byte // lower case, without a final dot
	path       []byte // without the query string, or "*"
	method     []byte
}

func (t *Table) find(q *query) *Route {
	if r := first(t.exact[string(q.host)], q); r != nil {
		return r
	}
	for _, e := range t.suffix {
		if len(q.host) > len(e.host) && bytes.HasSuffix(q.host, []byte(e.host)) && e.matches(q) {
			return e.Route
		}
	}
	return first(t.any, q)
}

func first(list []*entry, q *query) *Route {
	for _, e := range list {
		if e.matches(q) {
			return e.Route
		}
	}
	return nil
}

// matches compares all but the host's name.
func (e *entry) matches(q *query) bool {
	if e.port != "" && e.port != string(q.port) && !(e.port == "80" && len(q.port) == 0) {
		return false
	}
	if len(e.Listeners) > 0 && !slices.Contains(e.Listeners, q.listener) {
		return false
	}
	return hasPrefix(q.path, e.Path) && e.allows(q.method)
}

func (e *entry) allows(method []byte) bool {
	if len(e.Methods) == 0 {
		return true
	}
	return slices.Contains(e.Methods, string(method))
}

// hasPrefix reports whether path begins with whole segments of prefix.
func hasPrefix(path []byte, prefix string) bool {
	switch {
	case prefix == "/":
		return true
	case len(path) < len(prefix) || string(path[:len(prefix)]) != prefix:
		return false
	}
	return len(path) == len(prefix) || prefix[len(prefix)-1] == '/' || path[len(prefix)] == '/'
}

// rest is what of a path follows the route's prefix.
func (r *Route) rest(path []byte) []byte { return path[len(strings.TrimSuffix(r.Path, "/")):] }

// confine refuses a path that would climb out of what the route puts in the place
// of its prefix.
func (r *Route) confine(path []byte) error {
	if !r.StripPrefix && r.Replace == "" || path[0] != '/' {
		return nil
	}
	rest, _, _ := bytes.Cut(r.rest(path), []byte("?"))
	if plain(rest) {
		return nil
	}
	for how := range readings {
		if _, err := canonical(nil, rest, how); err != nil {
			return err
		}
	}
	return nil
}

// target is the path and query to send upstream.
func (r *Route) target(dst, path []byte) []byte {
	if !r.StripPrefix && r.Replace == "" || len(path) == 0 || path[0] != '/' {
		return path
	}
	rest := r.rest(path)
	prefix := strings.TrimSuffix(r.Replace, "/")
	if prefix == "" && (len(rest) == 0 || rest[0] != '/') {
		prefix = "/"
	}
	dst = append(dst, prefix...)
	return append(dst, rest...)
}
