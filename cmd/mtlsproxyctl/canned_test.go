package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func ago(d time.Duration) time.Time   { return noon.Add(-d) }
func pAgo(d time.Duration) *time.Time { t := ago(d); return &t }

const day = 24 * time.Hour

func cannedVersion() api.Version {
	return api.Version{Version: describe(), Go: "go1.26.8", API: "v1", PID: 4711}
}

func cannedStatus() api.Status {
	v := cannedVersion()
	v.Version = "1.2.3"
	return api.Status{
		Version: v, Phase: "running", Since: ago(2*time.Hour + 5*time.Minute),
		Health: api.Health{Live: true, Ready: true, State: api.Degraded, Reasons: []api.Reason{
			{State: api.Degraded, Subject: `identity "default"`, Message: "its certificate expires in 6 days", Hint: "renew it, write it to /etc/mtlsproxy/tls/client.crt, and run mtlsproxyctl reload"},
			{State: api.Degraded, Subject: `upstream "billing"`, Message: "1 of 2 endpoints is not used"},
		}},
		Config: api.Config{
			File: "/etc/mtlsproxy/mtlsproxy.toml", Running: "4f2a9c81d0e35b7766aa", OnDisk: "9b01cc34aa17ee0250f1", Differs: true,
			Loaded: ago(2*time.Hour + 5*time.Minute), Reloads: 3, Failed: 1,
			LastReload: &api.Reload{Time: ago(time.Hour), By: "uid 1000", Errors: []string{"/etc/mtlsproxy/mtlsproxy.toml:7: [upstream.billing] pool.max: out of range (got 0, want 1 to 65536)"}},
		},
		Listeners: []api.Listener{
			{Name: "http", Address: "127.0.0.1:8980", Connections: 40, Accepted: 12034},
			{Name: "http", Address: "/run/mtlsproxy/http.sock", Connections: 2, Accepted: 7},
		},
		Routes: []api.Route{
			{Name: "billing", Hosts: []string{"billing.local", "billing.internal"}, Path: "/", Callers: []string{"user:app", "group:billing"}, Upstream: "billing",
				InFlight: 12, Requests: 1234567, Errors: 89, BytesIn: 345678901, BytesOut: 9876543210},
			{Name: "search", Listeners: []string{"http"}, Hosts: []string{"localhost"}, Path: "/search", Methods: []string{"GET", "HEAD"}, Callers: []string{"any"}, Upstream: "search", Requests: 1},
		},
		Upstreams: []api.Upstream{
			{Name: "billing", Identity: "default", Generation: 4, ServerName: "billing.internal", Handshakes: 812, Resumed: 700, Retries: 31, Retried: map[string]uint64{"answered": 29, "failed": 2, "over_budget": 4, "no_time": 0, "retracted": 0},
				Pool: api.Pool{Max: 256, Open: 22, Idle: 10, Busy: 12, Opened: 812, Reused: 1233755, Closed: map[string]uint64{"idle": 700, "age": 90}},
				Endpoints: []api.Endpoint{
					{Address: "10.0.0.1:8443", IPs: []string{"10.0.0.1"}, State: api.EndpointUp, Pending: 12, Idle: 10, Busy: 12, Attempts: 1234000, Failures: 2, LastError: "connection reset by peer", LastTime: pAgo(90 * time.Minute), Breaker: "closed", Share: 1},
					{Address: "10.0.0.2:8443", IPs: []string{"10.0.0.2"}, State: api.EndpointShunned, Why: "7 failures in a row: connection refused", Until: pAgo(-42 * time.Second), Attempts: 598, Failures: 57,
						Breaker: "open", InARow: 7, Opened: 9, Probes: 8, Share: 1, Health: &api.Checks{Time: ago(4 * time.Second), Error: "the answer has status 503", Passed: 700, Failed: 1}},
				}},
			{Name: "search", Identity: "spare", Endpoints: []api.Endpoint{{Address: "search.internal:443", State: api.EndpointUnknown, Breaker: "closed", Share: 1}}, Pool: api.Pool{Max: 64}},
		},
		Identities: []api.Identity{
			{Name: "default", State: api.IdentityExpiring, Generation: 4, Subject: "CN=client,O=Example", Issuer: "CN=Example CA", Serial: "4d2a81ff", SANs: []string{"client.internal"},
				NotBefore: ago(84 * day), NotAfter: ago(-6*day - 2*time.Hour), Loaded: ago(2 * time.Hour), Cert: "/etc/mtlsproxy/tls/client.crt", Key: "/etc/mtlsproxy/tls/client.key",
				CA: "/etc/mtlsproxy/tls/ca.crt", CRL: "/etc/mtlsproxy/tls/ca.crl", Anchors: 1, Upstreams: []string{"billing"},
				Checked: ago(12 * time.Second), Changed: ago(2 * time.Hour), Watch: api.WatchInotify, Staged: new(cannedStaged()),
				InUse: []api.Use{
					{Generation: 4, Serial: "4d2a81ff", NotAfter: ago(-6*day - 2*time.Hour), Connections: 20},
					{Generation: 3, Serial: "11aa0f2e", NotAfter: ago(-day), Connections: 2, Until: pAgo(-25 * time.Second)},
				}},
			{Name: "partner", State: api.IdentityFailing, Reason: "mismatch", Error: "key /etc/mtlsproxy/tls/partner.key does not belong to certificate /etc/mtlsproxy/tls/partner.crt",
				FailingSince: pAgo(4*time.Minute + 3*time.Second), Generation: 1, Subject: "CN=partner", Issuer: "CN=Example CA", Serial: "75bd2c40e09f3ab1c2d3e4f5061728394a5b6c7d", NotBefore: ago(40 * day), NotAfter: ago(-50 * day),
				Loaded: ago(30 * day), OnDisk: &api.Certificate{Serial: "2c9e5511aa07d3f0b8c1", Subject: "CN=partner", Issuer: "CN=Example CA", NotBefore: ago(time.Hour), NotAfter: ago(-90 * day)},
				Checked: ago(5 * time.Minute), Changed: ago(4*time.Minute + 3*time.Second), Watch: api.WatchPolling, WatchWhy: "/mnt/tls is on nfs", CA: "system",
				PKCS12: "/mnt/tls/partner.p12", Passphrase: "/run/credentials/mtlsproxy.service/partner"},
			{Name: "spare", State: api.IdentityUnavailable, Reason: "missing", FailingSince: pAgo(2 * time.Hour), Upstreams: []string{"search"}, Cert: "/etc/mtlsproxy/tls/spare.crt", Watch: api.WatchInotify,
				Error: `reading certificate: open /etc/mtlsproxy/tls/spare.crt: no such file or directory`},
		},
		Connections: 42, InFlight: 12, Requests: 1234568, Errors: 89, Level: "info",
		Log: api.LogStats{
			Enabled: true, Directory: "/var/lib/mtlsproxy/log", Written: 1234560, Dropped: 8, Records: 5000123, Bytes: 734003200, MaxBytes: 1 << 30, MaxAge: 30 * 86400,
			Lag: 0.25, Buffered: 12288, BufferMax: 16 << 20, Oldest: pAgo(9 * day),
			Segments:    []api.Segment{{Name: "20261114T120000Z.db", From: ago(9 * day), To: ago(2 * day), Records: 4000000, Bytes: 600000000}, {Name: "20261121T120000Z.db", From: ago(2 * day), To: noon, Records: 1000123, Bytes: 134003200}},
			Quarantined: []api.Quarantined{{Name: "20261110T120000Z.db", Time: ago(3 * day), Why: "page 17 is damaged", Bytes: 4096}},
		},
	}
}

func cannedCertificate() api.Certificate {
	return api.Certificate{
		Serial: "5e3b77aa", Subject: "CN=client,O=Example", Issuer: "CN=Example CA", SANs: []string{"client.internal"},
		NotBefore: ago(time.Hour), NotAfter: ago(-90 * day),
	}
}

func cannedStaged() api.Staged {
	return api.Staged{Identity: "default", Certificate: cannedCertificate(), Anchors: 2, Time: ago(90 * time.Second), By: "uid 1000"}
}

func cannedCommitted() api.Committed {
	return api.Committed{
		Identity: "default", Certificate: cannedCertificate(), Generation: 5,
		Files: []string{"/etc/mtlsproxy/tls/client.key", "/etc/mtlsproxy/tls/client.crt"}, Message: `identity "default" shows serial 5e3b77aa from now on`,
	}
}

// cannedProbe has an endpoint of every kind.
func cannedProbe() api.Probed {
	chain := []api.Certificate{
		{Serial: "01", Subject: "CN=billing.internal,O=A Company With A Name That Does Not Fit,OU=Billing", Issuer: "CN=Example CA", NotBefore: ago(day), NotAfter: ago(-60 * day)},
		{Serial: "02", Subject: "CN=Example CA", Issuer: "CN=Example Root", NotBefore: ago(400 * day), NotAfter: ago(-900 * day)},
	}
	expired := []api.Certificate{{Serial: "03", Subject: "CN=billing.internal", Issuer: "CN=Example CA", NotBefore: ago(90 * day), NotAfter: ago(2 * day)}}
	many := []string{"CN=Example CA", "CN=Other\x1b[31m CA", "CN=3", "CN=4", "CN=5", "CN=6", "CN=7", "CN=8", "CN=9", "CN=10"}
	return api.Probed{Name: "default", Identity: "default", Using: api.ProbedStaged, Serial: "5e3b77aa", Endpoints: []api.ProbedEndpoint{
		{Upstream: "billing", Endpoint: "10.0.0.1:8443", Address: "10.0.0.1:8443", OK: true, ConnectSeconds: 0.0008, HandshakeSeconds: 0.0021, TLSVersion: "1.3",
			Cipher: "TLS_AES_128_GCM_SHA256", ALPN: "http/1.1", Chain: chain, Asked: true, Accepts: many, Accepted: true, Resumed: true},
		{Upstream: "billing", Endpoint: "10.0.0.2:8443", Address: "10.0.0.2:8443", Class: "client_cert_rejected", Error: "the server rejected the certificate: unknown certificate authority",
			ConnectSeconds: 0.0009, HandshakeSeconds: 0.0032, TLSVersion: "1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Chain: chain[:1], Asked: true, Accepts: []string{"CN=Other CA"}},
		{Upstream: "billing", Endpoint: "10.0.0.3:8443", Address: "10.0.0.3:8443", Class: "tls_verify_failed", Error: "the server's certificate expired 2 days ago", ConnectSeconds: 0.0009, HandshakeSeconds: 0.002,
			TLSVersion: "1.3", Chain: expired},
		{Upstream: "search", Endpoint: "search.internal:443", Class: "connect_failed", Error: "connection refused"},
		{Upstream: "search", Endpoint: "[2001:db8::1]:443", Address: "[2001:db8::1]:443", OK: true, TLSVersion: "1.3", Chain: chain[1:], Asked: true, Accepted: true},
	}}
}

func cannedConnections() []api.Connection {
	return []api.Connection{
		{ID: 9, Listener: "http", Remote: "127.0.0.1:40112", Since: ago(3 * time.Second), State: "active", Route: "search", Exchanges: 1, BytesIn: 120, BytesOut: 0},
		{ID: 7, Listener: "http", Caller: new(uint32(1000)), User: "app", PID: 812, Since: ago(2 * time.Hour), State: "idle", Route: "billing", Exchanges: 1042, BytesIn: 345678, BytesOut: 98765432},
		{ID: 8, Listener: "http", Remote: "127.0.0.1:40110", Caller: new(uint32(4242)), Since: ago(5 * time.Minute), State: "tunnel", Route: "billing", Exchanges: 1, BytesIn: 1 << 31, BytesOut: 55},
	}
}

func cannedLimits() []api.Limit {
	return []api.Limit{
		{Name: "limits.connections", Subject: "daemon", Capacity: 10000, Used: 42, Unit: "connections"},
		{Name: "pool.max", Subject: `upstream "billing"`, Capacity: 24, Used: 22, Waiting: 3, Rejected: 17, Unit: "connections"},
		{Name: "retry.budget", Subject: `upstream "billing"`, Rejected: 4, Unit: "retries"},
		{Name: "log.buffer", Subject: "request log", Capacity: 16 << 20, Used: 16 << 20, Unit: "bytes"},
		{Name: "rate", Subject: `route "billing"`, Used: 5},
	}
}

func cannedReload() api.Reload {
	return api.Reload{Time: noon, By: "uid 1000", OK: true, Seconds: 0.0123, Changes: []api.Change{
		{Key: "upstream.billing.pool.max", Old: "256", New: "128", Source: "/etc/mtlsproxy/mtlsproxy.toml:7", Effect: "in place"},
		{Key: "route.search.path", New: `"/search"`, Source: "/etc/mtlsproxy/mtlsproxy.d/search.toml:3", Effect: "new exchanges"},
	}}
}

func cannedRecords() []api.Record {
	return []api.Record{
		{Time: ago(1500 * time.Millisecond), ID: "0191d4e2b7f07a63", Listener: "http", Caller: new(uint32(1000)), Route: "billing", Upstream: "billing", Endpoint: "10.0.0.1:8443",
			Method: "GET", Host: "billing.local", Path: "/v1/accounts/42", Status: 200, BytesIn: 210, BytesOut: 5120, Queue: 0.000012, FirstByte: 0.0031, Total: 0.0034, Attempts: 1, Reused: true,
			TLS: "1.3", Serial: "4d2a81ff", Generation: 4},
		{Time: ago(26 * time.Hour), ID: "0191d4e2b7f07a5e", Listener: "http", Caller: new(uint32(1001)), Route: "billing", Upstream: "billing", Endpoint: "10.0.0.2:8443",
			Method: "POST", Host: "billing.local", Path: "/v1/a\"b\\c\x1b[31m\u009b\u202e,=x", Status: 502, Class: "connect_failed", Fault: "upstream", BytesIn: 1048576, BytesOut: 180, Queue: 1.25, Connect: 3, Total: 4.26, Attempts: 2,
			Serial: "4d2a81ff", Generation: 4},
		{Time: ago(3 * day), ID: "=cmd|' /C calc'!A0", Listener: "http", Route: "", Method: "GET", Host: "nowhere.local", Path: "/", Class: "client_gone", Fault: "client", Total: 0.00004},
	}
}

func cannedEvents() []api.Event {
	return []api.Event{
		{Seq: 1, Time: ago(2 * time.Hour), Level: "info", Message: "running", Attrs: []api.Attr{{Key: "listeners", Value: "127.0.0.1:8980"}}},
		{Seq: 2, Time: ago(time.Hour), Level: "error", Message: "reload failed; the old configuration stays", Attrs: []api.Attr{{Key: "by", Value: "uid 1000"}, {Key: "error", Value: "bad \x1b]0;title\a"}}},
	}
}

// cannedMetrics is what the daemon counted after n seconds.
func cannedMetrics(n int) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, "mtlsproxy_"+format+"\n", args...) }
	p(`requests_total{route="billing",upstream="billing",code="2xx"} %d`, 1000+200*n)
	p(`requests_total{route="billing",upstream="billing",code="5xx"} %d`, 80+2*n)
	p(`requests_total{route="search",upstream="search",code="2xx"} %d`, 1)
	p(`requests_total{route="none",upstream="none",code="4xx"} %d`, 5+n)
	p(`errors_total{route="billing",upstream="billing",class="connect_failed",fault="upstream"} %d`, 80+n)
	p(`request_bytes_total{route="billing"} %d`, 52000*n)
	p(`response_bytes_total{route="billing"} %d`, 3<<20*n)
	p(`in_flight{route="billing"} 12`)
	p(`in_flight{route="search"} 0`)
	for i, bound := range []string{"0.001", "0.005", "0.01", "0.1", "+Inf"} {
		p(`request_duration_seconds_bucket{route="billing",le="%s"} %d`, bound, []int{20, 140, 190, 200, 202}[i]*n)
		p(`first_byte_seconds_bucket{upstream="billing",le="%s"} %d`, bound, []int{40, 150, 195, 201, 202}[i]*n)
	}
	p(`upstream_handshakes_total{upstream="billing",resumed="true"} %d`, 700+3*n)
	p(`upstream_retries_total{upstream="billing"} %d`, 31+n)
	return b.String() + fmt.Sprintf("process_cpu_seconds_total %g\nprocess_resident_memory_bytes 3.5651584e+07\n", 100+0.25*float64(n))
}
