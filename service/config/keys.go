package config

import (
	"time"
)

// The keys of every table. The order is the order of the reference.

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour

	kib = 1 << 10
	mib = 1 << 20

	maxCount = 1_000_000 // of what is counted one by one
)

func newListener(name string) (*Listener, []field) {
	l := &Listener{Name: name}
	return l, []field{
		{name: "address", required: true, value: list(&l.Addresses, "list of addresses", parseAddress, Address.String),
			doc: "where to listen: loopback host:port, or the path of a unix socket"},
		{name: "mode", def: `"0660"`, value: mode(&l.Mode),
			doc: "permissions of the listener's unix sockets, octal"},
		{name: "allow_remote", def: "false", value: boolean(&l.AllowRemote),
			doc: "allow TCP addresses that other hosts can reach"},
	}
}

func newIdentity(name string) (*Identity, []field) {
	i := &Identity{Name: name}
	return i, []field{
		{name: "cert", required: true, unless: "pkcs12", value: path(&i.Cert),
			doc: "client certificate file, PEM: leaf first, then intermediates; none with pkcs12"},
		{name: "key", required: true, unless: "pkcs12", value: key(&i.Key),
			doc: "private key file, PEM, or the URI of a key that is no file; none with pkcs12"},
		{name: "pkcs12", value: path(&i.PKCS12),
			doc: "PKCS #12 store in the place of cert and key"},
		{name: "passphrase_file", value: path(&i.Passphrase),
			doc: "file whose first line opens an encrypted key or pkcs12; mode 0640 or 0600"},
		{name: "ca", required: true, value: trust(i),
			doc: `trust anchors file, PEM, or "system" for those of the host`},
		{name: "crl", value: path(&i.CRL),
			doc: "certificate revocation list file, PEM or DER; default: none"},
	}
}

func newUpstream(name string) (*Upstream, []field) {
	u := &Upstream{Name: name}
	return u, []field{
		{name: "endpoints", required: true, value: list(&u.Endpoints, "list of host:port", text(parseEndpoint), Endpoint.String),
			doc: "addresses of the service"},
		{name: "identity", def: `"default"`, value: named(&u.Identity),
			doc: "the identity to present"},
		{name: "server_name", value: scalar(&u.ServerName, "host name", parseServerName),
			doc: "SNI and the name to verify; default: the endpoint's host"},
		{name: "verify_san", value: list(&u.VerifySAN, "list of subject alternative names", text(parseSAN), SAN.String),
			doc: "names of which the upstream's certificate must carry one; default: server_name"},
		{name: "tls_min", def: `"1.2"`, value: tlsVersion(&u.TLSMin),
			doc: "lowest TLS version"},
		{name: "balance", def: `"least-pending"`, value: choice(&u.Balance, BalanceLeastPending),
			doc: "how an endpoint is picked"},
		{name: "resolve_interval", def: `"15s"`, value: duration(&u.ResolveInterval, time.Second, hour),
			doc: "how often DNS names of endpoints are looked up again"},
		{name: "pool.max", def: "256", value: integer(&u.Pool.Max, 1, 65535),
			doc: "connections at one time"},
		{name: "pool.idle", def: "64", value: integer(&u.Pool.Idle, 0, 65535),
			doc: "idle connections kept; at most pool.max"},
		{name: "pool.idle_timeout", def: `"30s"`, value: duration(&u.Pool.IdleTimeout, time.Second, day),
			doc: "an idle connection is closed after this"},
		{name: "pool.max_age", def: `"10m"`, value: durationOff(&u.Pool.MaxAge, time.Second, 7*day),
			doc: "a connection takes no new exchange after this"},
		{name: "pool.wait", def: `"3s"`, value: duration(&u.Pool.Wait, 0, 5*minute),
			doc: "how long an exchange waits for a connection when the pool is full; 0s fails at once"},
		{name: "pool.retire_timeout", def: `"30s"`, value: duration(&u.Pool.RetireTimeout, 0, hour),
			doc: "how long connections with an older certificate may take to finish; 0s ends them at once"},
		{name: "timeout.connect", def: `"3s"`, value: duration(&u.Timeout.Connect, time.Millisecond, 5*minute),
			doc: "longest time for the TCP connect"},
		{name: "timeout.handshake", def: `"3s"`, value: duration(&u.Timeout.Handshake, time.Millisecond, 5*minute),
			doc: "longest time for the TLS handshake"},
		{name: "timeout.response_header", def: `"30s"`, value: durationOff(&u.Timeout.ResponseHeader, time.Millisecond, day),
			doc: "longest time from the end of the request to the response's header"},
		{name: "timeout.idle", def: `"30s"`, value: durationOff(&u.Timeout.Idle, time.Millisecond, day),
			doc: "longest silence while a body moves"},
		{name: "timeout.total", def: `"0s"`, value: durationOff(&u.Timeout.Total, time.Millisecond, 7*day),
			doc: "longest time for the whole exchange"},
		{name: "timeout.tunnel", def: `"1h"`, value: durationOff(&u.Timeout.Tunnel, time.Millisecond, 7*day),
			doc: "longest silence in an upgraded connection"},
		{name: "retry.attempts", def: "2", value: integer(&u.Retry.Attempts, 1, 10),
			doc: "how often a request is tried in all, as far as it may be sent again"},
		{name: "retry.budget_percent", def: "20", value: integer(&u.Retry.BudgetPercent, 0, 100),
			doc: "retries in a hundred requests of the last 10 seconds"},
		{name: "retry.budget_min", def: "3", value: integer(&u.Retry.BudgetMin, 0, 1000),
			doc: "retries in 10 seconds beside those"},
		{name: "breaker.failures", def: "7", value: integer(&u.Breaker.Failures, 0, 1000),
			doc: "failures in a row after which an endpoint is left alone; 0: it is not"},
		{name: "breaker.open_min", def: `"1s"`, value: duration(&u.Breaker.OpenMin, 10*time.Millisecond, hour),
			doc: "how long it is left alone the first time"},
		{name: "breaker.open_max", def: `"1m"`, value: duration(&u.Breaker.OpenMax, 10*time.Millisecond, hour),
			doc: "how long at most; at least breaker.open_min"},
		{name: "health.path", value: scalar(&u.Health.Path, "path", parseHealthPath),
			doc: "path and query of a GET request that checks endpoints; default: no checks"},
		{name: "health.interval", def: `"10s"`, value: duration(&u.Health.Interval, time.Second, hour),
			doc: "time between two checks of an endpoint"},
		{name: "health.timeout", def: `"2s"`, value: duration(&u.Health.Timeout, 10*time.Millisecond, minute),
			doc: "longest time of one check"},
		{name: "health.healthy", def: "2", value: integer(&u.Health.Healthy, 1, 100),
			doc: "good checks in a row that make an endpoint well again"},
		{name: "health.unhealthy", def: "3", value: integer(&u.Health.Unhealthy, 1, 100),
			doc: "bad checks in a row that make an endpoint ill"},
		{name: "via", value: via(&u.Via),
			doc: "HTTP proxy that connects to the endpoints: http://host:port; default: none"},
		{name: "via_credentials_file", value: path(&u.ViaCredentials),
			doc: "file whose first line is user:password for via; mode 0640 or 0600"},
		{name: "source", value: source(&u.Source),
			doc: "local IP address of connections; default: the system's choice"},
	}
}

func newRoute(name string) (*Route, []field) {
	r := &Route{Name: name}
	return r, []field{
		{name: "name", required: true, value: routeName(r),
			doc: "the route's name; a later layer changes a route by it"},
		{name: "listener", value: list(&r.Listeners, "list of names", text(parseName), str),
			doc: "listeners it serves; default: all"},
		{name: "host", def: `["localhost", "127.0.0.1", "[::1]"]`, value: list(&r.Hosts, "list of hosts", text(parseHost), Host.String),
			doc: `requested hosts: name, name:port, "*.domain" or "*"; without a port: any port`},
		{name: "path", def: `"/"`, value: scalar(&r.Path, "path prefix", parsePrefix),
			doc: "path prefix, in whole segments"},
		{name: "method", value: list(&r.Methods, "list of methods", text(parseMethod), str),
			doc: "request methods; default: all"},
		{name: "callers", required: true, value: list(&r.Callers, "list of callers", text(parsePeer), str),
			doc: `who may use it; ["any"] lends the identity to every local user`},
		{name: "allow_cross_site", def: "false", value: boolean(&r.CrossSite),
			doc: "let web pages of other sites use it, from a browser on this host"},
		{name: "upstream", required: true, value: named(&r.Upstream),
			doc: "where requests go"},
		{name: "host_header", def: `"upstream"`, value: scalar(&r.HostHeader, "string", parseHostHeader),
			doc: `Host sent: "upstream" (server_name or the first endpoint's host), "client" (as received), or a literal host[:port]`},
		{name: "strip_prefix", def: "false", value: boolean(&r.StripPrefix),
			doc: "remove the route's path from the request's path"},
		{name: "replace_prefix", value: scalar(&r.ReplacePrefix, "path prefix", parsePrefix),
			doc: "put this in the place of the route's path; default: leave it"},
		{name: "request_headers.set", value: headers(&r.RequestHeaders.Set),
			doc: "fields to set in the request: name = value"},
		{name: "request_headers.remove", value: listOrEmpty(&r.RequestHeaders.Remove, "list of field names", text(parseHeaderName), str),
			doc: "fields to remove from the request"},
		{name: "response_headers.set", value: headers(&r.ResponseHeaders.Set),
			doc: "fields to set in the response: name = value"},
		{name: "response_headers.remove", value: listOrEmpty(&r.ResponseHeaders.Remove, "list of field names", text(parseHeaderName), str),
			doc: "fields to remove from the response"},
		{name: "forwarded", def: "true", value: boolean(&r.Forwarded),
			doc: "set Forwarded and X-Forwarded-* in the request"},
		{name: "request_id", def: `"make"`, value: choice(&r.RequestID, RequestIDMake, RequestIDAccept),
			doc: "X-Request-Id: always make one, or accept the client's"},
		{name: "upgrade", def: `["websocket"]`, value: listOrEmpty(&r.Upgrade, "list of protocols", text(parseUpgrade), str),
			doc: "protocols an exchange may upgrade to"},
		{name: "limit.rate", value: rate(&r.Limit.Rate),
			doc: "requests in a second, minute or hour, for each of what per says; default: no bound"},
		{name: "limit.burst", value: burst(&r.Limit),
			doc: "how many of them may come at once; default: what the rate brings in a second, and at least 1"},
		{name: "limit.per", def: `"route"`, value: per(&r.Limit.Per),
			doc: "what has a rate of its own: each caller, each listener, each value of a header field, or the route as a whole"},
		{name: "limit.in_flight", def: "0", value: integer(&r.Limit.InFlight, 0, maxCount),
			doc: "exchanges under way at one time; 0 for no bound"},
		{name: "limit.per_caller", def: "0", value: integer(&r.Limit.PerCaller, 0, maxCount),
			doc: "exchanges under way of one caller; 0 for no bound"},
		{name: "limit.queue", def: "0", value: integer(&r.Limit.Queue, 0, maxCount),
			doc: "exchanges that may wait for in_flight and per_caller; callers take turns"},
		{name: "limit.queue_timeout", def: `"1s"`, value: duration(&r.Limit.QueueTimeout, time.Millisecond, 5*minute),
			doc: "longest wait in the queue"},
		{name: "limit.body", def: `"0B"`, value: sizeOff(&r.Limit.Body, 1, 1<<40),
			doc: "largest body of a request"},
		{name: "retry.attempts", value: retryAttempts(&r.Retry.Attempts),
			doc: "how often a request is sent in all; default: retry.attempts of the upstream"},
		{name: "retry.statuses", value: statuses(&r.Retry.Statuses),
			doc: "responses after which an idempotent request is sent again"},
		{name: "retry.methods", value: list(&r.Retry.Methods, "list of methods", text(parseIdempotent), str),
			doc: "methods that are sent again after these, or when an answer fails to come; default: all that are idempotent"},
		{name: "retry.per_try", def: `"0s"`, value: durationOff(&r.Retry.PerTry, time.Millisecond, 5*minute),
			doc: "longest time from the begin of a try to the response's header, after which there is another"},
	}
}

func limitsFields(l *Limits) []field {
	return []field{
		{name: "header_bytes", def: `"64KiB"`, value: size(&l.HeaderBytes, 8*kib, mib),
			doc: "request line and header together"},
		{name: "header_fields", def: "100", value: integer(&l.HeaderFields, 10, 1000),
			doc: "header fields of a request, and of a response"},
		{name: "target_bytes", def: `"16KiB"`, value: size(&l.TargetBytes, 8000, mib),
			doc: "request target; at most header_bytes"},
		{name: "header_timeout", def: `"10s"`, value: duration(&l.HeaderTimeout, 10*time.Millisecond, 10*minute),
			doc: "longest time from the first byte of a request to the end of its header"},
		{name: "idle_timeout", def: `"75s"`, value: duration(&l.IdleTimeout, 10*time.Millisecond, day),
			doc: "longest silence of a client between two requests"},
		{name: "body_idle_timeout", def: `"30s"`, value: duration(&l.BodyIdleTimeout, 10*time.Millisecond, day),
			doc: "longest silence of a client while a body moves"},
		{name: "upstream_header_bytes", def: `"64KiB"`, value: size(&l.UpstreamHeaderBytes, 8*kib, mib),
			doc: "status line and header of a response together"},
		{name: "connections", def: "0", value: integer(&l.Connections, 0, maxCount),
			doc: "client connections; 0 for as many as LimitNOFILE leaves room for"},
		{name: "connections_per_caller", def: "0", value: integer(&l.ConnectionsPerCaller, 0, maxCount),
			doc: "client connections of one caller; 0 for no bound"},
		{name: "memory", def: `"256MiB"`, value: sizeOff(&l.Memory, mib, 1<<40),
			doc: "memory for the buffers of exchanges under way"},
	}
}

func drainFields(d *Drain) []field {
	return []field{
		{name: "timeout", def: `"25s"`, value: duration(&d.Timeout, 0, hour),
			doc: "how long exchanges under way may take to finish; 0s ends them at once"},
		{name: "restart_timeout", def: `"10s"`, value: duration(&d.RestartTimeout, 0, hour),
			doc: "the same when the daemon is restarted, while new connections wait"},
	}
}
