package config

import (
	"io/fs"
	"net/netip"
	"time"
)

// Config is one checked configuration. It is immutable: callers share it and
// must not modify it or anything reachable from it.
type Config struct {
	Listeners  []Listener // sorted by name; may be empty: a listener can come from elsewhere
	Identities []Identity // sorted by name
	Upstreams  []Upstream // sorted by name
	Routes     []Route    // in the order in which they first appear in the files
	Limits     Limits
	Drain      Drain
	Log        Log
	Admin      Admin
	Metrics    Metrics
	Reload     Reload

	settings []Setting
}

// Listener is a socket on which local applications speak plain HTTP.
type Listener struct {
	Name        string
	Addresses   []Address   // at least one
	Mode        fs.FileMode // permission bits of its unix sockets, default 0660; 0 when it has none
	AllowRemote bool        // its TCP addresses may be reachable from other hosts; default false
}

// Identity names the files of a client certificate: Cert and Key, or PKCS12. Paths are
// not checked here.
type Identity struct {
	Name string
	Cert string // PEM: the leaf first, then intermediates; "" if and only if PKCS12 is set
	Key  string // PEM: the private key of Cert, or a URI such as "pkcs11:…"; "" if and only if PKCS12 is set
	CA   string // PEM: trust anchors for upstreams; "" if and only if SystemCA
	CRL  string // PEM or DER: revoked upstream certificates; "" for none

	PKCS12     string // key, certificate and intermediates in one; "" for Cert and Key
	Passphrase string // file whose first line opens Key or PKCS12; "" if they are not encrypted

	// SystemCA is true when ca = "system" is written out: the trust anchors of
	// the host are used.
	SystemCA bool
}

// Upstream is a named service reached over mutual TLS with one identity.
type Upstream struct {
	Name            string
	Endpoints       []Endpoint    // at least one, no duplicates
	Identity        string        // name of an existing Identity; default "default"
	ServerName      string        // SNI and name to verify; "" for each endpoint's own host
	VerifySAN       []SAN         // names of which the upstream's certificate must carry one; nil for ServerName
	TLSMin          uint16        // tls.VersionTLS12 (default) or tls.VersionTLS13
	Balance         string        // BalanceLeastPending
	ResolveInterval time.Duration // how often DNS names of endpoints are looked up again; default 15s
	Pool            Pool
	Timeout         Timeouts
	Retry           Retry
	Breaker         Breaker
	Health          Health
	Via             *Endpoint  // HTTP proxy that connects to the endpoints; nil for none
	ViaCredentials  string     // file with user:password for it; "" for none, and without Via
	Source          netip.Addr // local address of connections; the zero Addr for the system's choice
}

// Retry bounds how often requests are sent again.
type Retry struct {
	Attempts      int // of one request in all, default 2; 1 for no retry
	BudgetPercent int // retries in a hundred requests of the last 10 seconds, default 20
	BudgetMin     int // retries in 10 seconds beside those, default 3
}

// Breaker says how long an endpoint that fails is left alone.
type Breaker struct {
	Failures int           // in a row, default 7; 0 for no breaker
	OpenMin  time.Duration // the first time, default 1s
	OpenMax  time.Duration // at most, at least OpenMin, default 1m
}

// Health describes the request that checks endpoints.
type Health struct {
	Path      string        // with a query, perhaps; "" for no checks
	Interval  time.Duration // default 10s
	Timeout   time.Duration // of one check, default 2s
	Healthy   int           // good ones in a row that make an endpoint well again, default 2
	Unhealthy int           // bad ones in a row that make it ill, default 3
}

// BalanceLeastPending picks the endpoint with the fewest exchanges under way.
const BalanceLeastPending = "least-pending"

// Pool bounds the connections to one upstream.
type Pool struct {
	Max         int           // connections at one time, default 256
	Idle        int           // idle connections kept, at most Max, default 64
	IdleTimeout time.Duration // an idle connection is closed after this, default 30s
	MaxAge      time.Duration // a connection takes no new exchange after this, default 10m; 0 for no bound
	Wait        time.Duration // how long an exchange waits for a connection when the pool is full, default 3s; 0 fails at once

	RetireTimeout time.Duration // how long connections with an older certificate may take to finish, default 30s; 0 ends them at once
}

// Timeouts bound the steps of one exchange with an upstream. 0 means no bound,
// where it is allowed.
type Timeouts struct {
	Connect        time.Duration // TCP connect, default 3s; never 0
	Handshake      time.Duration // TLS handshake, default 3s; never 0
	ResponseHeader time.Duration // from the request's last byte to the response head, default 30s
	Idle           time.Duration // longest silence while a body moves, default 30s
	Total          time.Duration // the whole exchange, as long as it waits for the upstream, default 0
	Tunnel         time.Duration // longest silence in an upgraded connection, default 1h
}

// Route maps requests to an upstream. The most specific route wins: host with
// port, host, longer wildcard, shorter wildcard, "*"; then the longer path; then
// a method list over none; then a listener list over none. Load refuses two
// routes that tie.
type Route struct {
	Name            string
	Listeners       []string // names; nil for every listener
	Hosts           []Host   // at least one; default the local names with any port
	Path            string   // prefix in whole segments, "/" or without a slash at the end; default "/"
	Methods         []string // nil for every method
	Callers         []string // who may use it: rules such as "user:app", or CallerAny; at least one
	CrossSite       bool     // web pages of other sites may use it; default false
	Upstream        string   // name of an existing Upstream
	HostHeader      string   // HostHeaderUpstream (default), HostHeaderClient or a literal host[:port]
	StripPrefix     bool     // remove Path from the request's path; default false
	ReplacePrefix   string   // put this in the place of Path; "" for not; excludes StripPrefix
	RequestHeaders  HeaderEdits
	ResponseHeaders HeaderEdits
	Forwarded       bool     // set Forwarded and X-Forwarded-*; default true
	RequestID       string   // RequestIDMake (default) or RequestIDAccept
	Upgrade         []string // protocols an exchange may upgrade to; default ["websocket"]
	Limit           RouteLimit
	Retry           RouteRetry
}

// RouteRetry says when a request is sent again beside what is always safe. Its zero value
// says never.
type RouteRetry struct {
	Attempts int           // in all; 0 for what the upstream says
	Statuses []int         // of responses that are not wanted
	Methods  []string      // idempotent ones; nil for all of these
	PerTry   time.Duration // from the begin of a try to the response's head; 0 for no bound
}

// RouteLimit bounds what a route takes. 0 is no bound.
type RouteLimit struct {
	Rate         Rate
	Burst        int           // requests that may come at once; at least 1 if there is a rate
	Per          string        // what has a rate of its own: PerRoute (default), PerCaller, PerListener or PerHeader and a name
	InFlight     int           // exchanges under way
	PerCaller    int           // exchanges under way of one caller
	Queue        int           // exchanges that wait for InFlight or PerCaller; 0 for no queue
	QueueTimeout time.Duration // longest wait in the queue, default 1s
	Body         int64         // bytes of a request's body
}

// Rate is how often something may come; 0 Requests is no bound.
type Rate struct {
	Requests int
	Per      time.Duration // a second, a minute or an hour
}

// Values of RouteLimit.Per.
const (
	PerRoute    = "route"
	PerCaller   = "caller"
	PerListener = "listener"
	PerHeader   = "header:" // and the name of a field
)

// CallerAny in Route.Callers lets every local user use the route's identity.
const CallerAny = "any"

// Values of Route.HostHeader that are not a literal host.
const (
	HostHeaderUpstream = "upstream" // the upstream's server_name, or else its first endpoint's host
	HostHeaderClient   = "client"   // the host the client asked for
)

// Values of Route.RequestID.
const (
	RequestIDMake   = "make"   // always a new X-Request-Id
	RequestIDAccept = "accept" // the client's X-Request-Id, if it sent one
)

// HeaderEdits are changes to the header of a request or response.
type HeaderEdits struct {
	Set    []Header // in the order of the file; each replaces all fields of that name
	Remove []string // names
}

// Header is one header field.
type Header struct{ Name, Value string }

// Limits bound what clients may cost, each and all together.
type Limits struct {
	HeaderBytes         int64         // request line and header together, default 64KiB
	HeaderFields        int           // header fields of a request and of a response, default 100
	TargetBytes         int64         // request target, at most HeaderBytes, default 16KiB
	HeaderTimeout       time.Duration // from the first byte of a request to the end of its header, default 10s
	IdleTimeout         time.Duration // longest silence between two requests, default 75s
	BodyIdleTimeout     time.Duration // longest silence of a client while a body moves, default 30s
	UpstreamHeaderBytes int64         // status line and header of a response together, default 64KiB

	Connections          int   // of clients; 0, the default, for what LimitNOFILE leaves room for
	ConnectionsPerCaller int   // default 0, no bound
	Memory               int64 // for the buffers of exchanges under way, default 256MiB; 0 for no bound
}

// Drain says how the daemon stops.
type Drain struct {
	Timeout        time.Duration // how long exchanges under way may take to finish, default 25s; 0 ends them at once
	RestartTimeout time.Duration // the same for a restart, default 10s: new connections wait for its end
}
