package api

import "time"

// Version says what runs.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	API     string `json:"api"` // "v1"
	PID     int    `json:"pid"`
}

// Status answers the operator's first question: is it serving, for whom, with
// which certificate, until when, and what is wrong.
type Status struct {
	Version
	Phase       string     `json:"phase"` // starting, running, reloading, draining or stopping
	Since       time.Time  `json:"since"` // when the daemon started
	Health      Health     `json:"health"`
	Config      Config     `json:"config"`
	Notes       []string   `json:"notes,omitempty"` // settings that do not hold, and why; nothing is wrong
	Listeners   []Listener `json:"listeners"`
	Routes      []Route    `json:"routes"`
	Upstreams   []Upstream `json:"upstreams"`
	Identities  []Identity `json:"identities"`
	Connections int        `json:"connections"` // of clients, open now
	InFlight    int        `json:"in_flight"`   // exchanges under way
	Requests    uint64     `json:"requests"`    // exchanges since the start
	Errors      uint64     `json:"errors"`      // of those, answered by the daemon itself or cut short
	Log         LogStats   `json:"log"`
	Level       string     `json:"level"` // of events: debug, info, warn or error
}

// Health says whether the daemon lives, is ready for work, and what is wrong.
type Health struct {
	Live    bool     `json:"live"`
	Ready   bool     `json:"ready"`   // it accepts requests and has a route for them
	State   string   `json:"state"`   // "ok", "degraded" or "failing"
	Reasons []Reason `json:"reasons"` // every one there is; empty when ok, and for a caller that may not read
}

// The states of Health.
const (
	Healthy  = "ok"
	Degraded = "degraded" // it serves, but not everybody or not for long
	Failing  = "failing"  // it cannot serve
)

// Reason is one thing that is wrong.
type Reason struct {
	State   string `json:"state"`   // how bad it is: degraded or failing
	Subject string `json:"subject"` // what has it: identity "billing"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Config compares the configuration that runs with the one on disk.
type Config struct {
	File    string    `json:"file,omitempty"` // main file; empty if there is none
	Running string    `json:"running"`        // digest of every value in effect
	OnDisk  string    `json:"on_disk,omitempty"`
	Differs bool      `json:"differs"`         // a reload would change something, or fail
	Error   string    `json:"error,omitempty"` // why what is on disk could not be loaded
	Loaded  time.Time `json:"loaded"`          // when what runs was loaded
	Reloads uint64    `json:"reloads"`         // that succeeded
	Failed  uint64    `json:"failed"`          // that changed nothing

	LastReload *Reload `json:"last_reload,omitempty"`
}

// Reload is the outcome of a reload.
type Reload struct {
	Time    time.Time `json:"time"`
	By      string    `json:"by"` // "signal", "watch", "systemctl reload", or "uid 1000" for others on the admin API
	OK      bool      `json:"ok"`
	Errors  []string  `json:"errors,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // rules that name nobody who exists; nothing is wrong
	Changes []Change  `json:"changes"`         // by the reload, or, of a check, by the one to come
	Seconds float64   `json:"seconds"`
}

// Change is one value that differs between two configurations.
type Change struct {
	Key    string `json:"key"`           // upstream.billing.pool.max
	Old    string `json:"old,omitempty"` // as TOML; empty if there was none
	New    string `json:"new,omitempty"` // as TOML; empty if there is none any more
	Source string `json:"source,omitempty"`
	Effect string `json:"effect,omitempty"` // what becomes of connections: "in place", "new connections", …
}

// Listener is a socket on which local applications speak plain HTTP.
type Listener struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Connections int    `json:"connections"` // open now
	Accepted    uint64 `json:"accepted"`
}

// Route is the rule that maps a request to an upstream.
type Route struct {
	Name      string   `json:"name"`
	Listeners []string `json:"listeners"` // empty: all
	Hosts     []string `json:"hosts"`
	Path      string   `json:"path"`
	Methods   []string `json:"methods"` // empty: all
	Callers   []string `json:"callers"`
	Upstream  string   `json:"upstream"`
	InFlight  int      `json:"in_flight"`
	Requests  uint64   `json:"requests"`
	Errors    uint64   `json:"errors"`
	BytesIn   uint64   `json:"bytes_in"`  // read from clients
	BytesOut  uint64   `json:"bytes_out"` // written to clients
}

// Upstream is a service reached with one identity.
type Upstream struct {
	Name       string     `json:"name"`
	Identity   string     `json:"identity"`
	Generation uint64     `json:"generation"`        // of the identity; 0: none is loaded
	Refused    uint64     `json:"refused,omitempty"` // answers since the generation came into use, if every one was 400, 401 or 403; or else 0
	ServerName string     `json:"server_name,omitempty"`
	Via        string     `json:"via,omitempty"` // the proxy that connects to the endpoints, host:port
	Endpoints  []Endpoint `json:"endpoints"`
	Pool       Pool       `json:"pool"`
	Handshakes uint64     `json:"handshakes"`
	Resumed    uint64     `json:"resumed"` // handshakes that resumed a session
	Retries    uint64     `json:"retries"` // requests sent once more, or tried at another endpoint
	// Retried tells what came of them: answered, failed or retracted; and which were not
	// made: over_budget and no_time.
	Retried map[string]uint64 `json:"retried"`
}

// The states of an Endpoint.
const (
	EndpointUp         = "up"
	EndpointUnknown    = "unknown"    // not tried yet
	EndpointRecovering = "recovering" // it gets less than its share of exchanges for a while
	EndpointFailing    = "failing"    // its last health check failed; exchanges still go there
	EndpointDown       = "down"       // no connection could be made the last time
	EndpointShunned    = "shunned"    // its breaker is open: no exchange goes there until then
	EndpointHalfOpen   = "half_open"  // one exchange may find out whether its breaker can close
	EndpointIll        = "ill"        // it fails its health checks: no exchange goes there
	EndpointDrained    = "drained"    // by hand
	EndpointUnnamed    = "no_address" // its name has no address
)

// EndpointStates are all states of an Endpoint, the best first.
func EndpointStates() []string {
	return []string{
		EndpointUp, EndpointUnknown, EndpointRecovering, EndpointFailing,
		EndpointDown, EndpointHalfOpen, EndpointShunned, EndpointIll, EndpointUnnamed, EndpointDrained,
	}
}

// Usable reports whether exchanges go to an endpoint in that state as to any other.
func Usable(state string) bool {
	switch state {
	case EndpointUp, EndpointUnknown, EndpointRecovering, EndpointFailing:
		return true
	}
	return false
}

// Endpoint is one address of an upstream.
type Endpoint struct {
	Address   string     `json:"address"` // host:port as configured
	IPs       []string   `json:"ips"`     // none if a proxy looks them up
	State     string     `json:"state"`
	Why       string     `json:"why,omitempty"` // the reason for a state that is not up
	Until     *time.Time `json:"until,omitempty"`
	Pending   int        `json:"pending"` // exchanges that use or want a connection to it
	Idle      int        `json:"idle"`    // connections
	Busy      int        `json:"busy"`    // connections
	Attempts  uint64     `json:"attempts"`
	Failures  uint64     `json:"failures"` // attempts that were the upstream's fault
	LastError string     `json:"last_error,omitempty"`
	LastTime  *time.Time `json:"last_error_time,omitempty"`

	Breaker string  `json:"breaker"`                // closed, open or half_open
	InARow  int     `json:"consecutive_failures"`   // of exchanges
	Opened  uint64  `json:"breaker_opened"`         // times the breaker has
	Probes  uint64  `json:"breaker_probes"`         // exchanges that were let through to find out
	Share   float64 `json:"share"`                  // of its full share of exchanges: below 1 for a while after it has recovered
	Health  *Checks `json:"health_check,omitempty"` // null if there are none, or there has been none
}

// Checks are what the health checks of an endpoint have found.
type Checks struct {
	Time   time.Time `json:"time"`            // of the last one
	Error  string    `json:"error,omitempty"` // of the last one; empty if it was good
	Ill    bool      `json:"ill"`             // so many have failed in a row that no exchange goes there
	Passed uint64    `json:"passed"`
	Failed uint64    `json:"failed"`
}

// Pool holds the connections of an upstream.
type Pool struct {
	Max     int               `json:"max"`
	Open    int               `json:"open"` // all, those being made included
	Idle    int               `json:"idle"`
	Busy    int               `json:"busy"`
	Waiting int               `json:"waiting"` // exchanges that wait for a connection
	Opened  uint64            `json:"opened"`
	Reused  uint64            `json:"reused"` // exchanges on a connection that had carried one before
	Closed  map[string]uint64 `json:"closed"` // by reason
}

// Connection is one connection of a client.
type Connection struct {
	ID        uint64    `json:"id"`
	Listener  string    `json:"listener"`
	Remote    string    `json:"remote,omitempty"` // address; empty on a unix socket
	Caller    *uint32   `json:"caller"`           // uid; null if unknown
	User      string    `json:"user,omitempty"`   // its name
	PID       int       `json:"pid,omitempty"`    // on a unix socket
	Since     time.Time `json:"since"`
	State     string    `json:"state"`           // "idle", "active" or "tunnel"
	Route     string    `json:"route,omitempty"` // of the exchange under way, or the last one
	Exchanges uint64    `json:"exchanges"`
	BytesIn   uint64    `json:"bytes_in"`
	BytesOut  uint64    `json:"bytes_out"`
}

// Limit is one bound, with its use.
type Limit struct {
	Name     string `json:"name"`    // pool.max
	Subject  string `json:"subject"` // upstream "billing"
	Capacity int64  `json:"capacity"`
	Used     int64  `json:"used"`
	Waiting  int64  `json:"waiting"`
	Rejected uint64 `json:"rejected"`
	// RejectedBy tells why, for limits that have several reasons. The sum is Rejected.
	RejectedBy map[string]uint64 `json:"rejected_by"`
	Unit       string            `json:"unit"` // "connections", "bytes", "descriptors", …
}

// Level is the least severe level of events that is logged.
type Level struct {
	Level string `json:"level"` // debug, info, warn or error
}

// String implements fmt.Stringer.
func (l Level) String() string { return l.Level }

// Target names an upstream or one of its endpoints.
type Target struct {
	Upstream string `json:"upstream"`
	Endpoint string `json:"endpoint,omitempty"` // host:port; empty: all
}

// String implements fmt.Stringer: UPSTREAM or UPSTREAM/ENDPOINT.
func (t Target) String() string {
	if t.Endpoint == "" {
		return t.Upstream
	}
	return t.Upstream + "/" + t.Endpoint
}

// Changed says what an order has done.
type Changed struct {
	Message string   `json:"message"`
	Targets []string `json:"targets"` // endpoints concerned
}
