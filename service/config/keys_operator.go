package config

import "time"

// The keys of the tables that are for whoever runs the daemon.

func logFields(l *Log) []field {
	return []field{
		{name: "enabled", def: "true", value: boolean(&l.Enabled),
			doc: "keep a record of every exchange"},
		{name: "directory", value: path(&l.Directory),
			doc: "where its files stand; default: the directory log of the daemon's state directory"},
		{name: "max_size", def: `"1GiB"`, value: size(&l.MaxSize, 16*mib, 1<<40),
			doc: "all its files together; the oldest are deleted"},
		{name: "max_age", def: `"30d"`, value: duration(&l.MaxAge, minute, 3650*day),
			doc: "files with nothing younger are deleted"},
		{name: "segment_size", def: `"64MiB"`, value: size(&l.SegmentSize, 4*mib, 4<<30),
			doc: "a new file begins at this size; at most a quarter of max_size"},
		{name: "segment_age", def: `"1d"`, value: duration(&l.SegmentAge, minute, 365*day),
			doc: "a new file begins at this age"},
		{name: "buffer", def: `"8MiB"`, value: size(&l.Buffer, 256*kib, 1<<30),
			doc: "memory for records not written yet; what does not fit is dropped and counted"},
		{name: "query", def: "false", value: boolean(&l.Query),
			doc: "keep the query of request targets, which may hold secrets"},
	}
}

func adminFields(a *Admin) []field {
	return []field{
		{name: "address", value: adminAddress(&a.Address),
			doc: "path of the unix socket of the admin API; default: /run/mtlsproxy/admin.sock for root, otherwise in the user's runtime directory"},
		{name: "mode", def: `"0660"`, value: mode(&a.Mode),
			doc: "permissions of that socket, octal; who may connect still needs read or operate"},
		{name: "read", def: "[]", value: listOrEmpty(&a.Read, "list of callers", text(parsePeer), str),
			doc: "who may look: status, metrics, log"},
		{name: "operate", def: `["group:mtlsproxy-admin"]`, value: listOrEmpty(&a.Operate, "list of callers", text(parsePeer), str),
			doc: "who may look and change: reload, drain, level"},
	}
}

func metricsFields(m *Metrics) []field {
	return []field{
		{name: "address", value: list(&m.Addresses, "list of addresses", parseAddress, Address.String),
			doc: "loopback host:port where Prometheus may fetch /metrics; default: nowhere but on the admin socket"},
		{name: "token_file", value: path(&m.TokenFile),
			doc: "file with the bearer token that opens it; mode 0640 or 0600"},
		{name: "callers", value: list(&m.Callers, "list of callers", text(parsePeer), str),
			doc: "who may fetch without a token; default: nobody"},
	}
}

func reloadFields(r *Reload) []field {
	return []field{
		{name: "watch", def: "false", value: boolean(&r.Watch),
			doc: "reload when a file of the configuration has changed"},
		{name: "poll", def: `"1m"`, value: duration(&r.Poll, time.Second, hour),
			doc: "how often files are looked at without being told that they changed"},
	}
}
