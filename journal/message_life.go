package journal

// lifeMessages are those about the life of the daemon.
func lifeMessages() []Message {
	return []Message{
		{
			ID: idStarted, Event: Started, Attrs: []string{"listeners", "upstreams", "routes"},
			Subject: "mtlsproxy serves",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The daemon has loaded its configuration and its identities and serves local
applications on @MTLS_LISTENERS@,
with @MTLS_UPSTREAMS@ upstreams and @MTLS_ROUTES@ routes.

Nothing needs to be done. "mtlsproxyctl status" tells for whom it serves, with
which certificates and until when.`,
		},
		{
			ID: idStartFailed, Event: StartFailed, Attrs: []string{"error"},
			Subject: "mtlsproxy could not start",
			Manuals: []string{"mtlsproxyd(8)", "mtlsproxy.toml(5)"},
			Explanation: `The daemon has ended without serving:

  @MTLS_ERROR@

The sockets stand: connections wait in their queues until the daemon has started.
"mtlsproxyd check" reports all that is wrong with the configuration at once. Mend
it, then run "systemctl restart mtlsproxy.service".`,
		},
		{
			ID: idUnconfigured, Event: Unconfigured, Attrs: []string{"file"},
			Subject: "mtlsproxy has no route yet",
			Manuals: []string{"mtlsproxy.toml(5)"},
			Explanation: `The daemon serves, but its configuration, @MTLS_FILE@, has no route. It
answers every request with 503.

Write an [identity], an [upstream] and a [[route]], try them with "mtlsproxyd
check", and go over to them with "systemctl reload mtlsproxy.service".`,
		},
		{
			ID: idDegraded, Event: Degraded, Attrs: []string{"error"},
			Subject: "mtlsproxy serves, but not all of it works",
			Manuals: []string{"mtlsproxyd(8)", "mtlsproxy.toml(5)"},
			Explanation: `Requests are served, but a part of the daemon is missing:

  @MTLS_ERROR@

"mtlsproxyctl status" lists what is wrong. After mending it, run "systemctl reload
mtlsproxy.service".`,
		},
		{
			ID: idReloading, Event: Reloading, Attrs: []string{"by"},
			Subject: "mtlsproxy reloads",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `A reload was asked for by @MTLS_BY@. The configuration and all files it names
are read anew. Requests are served all the while; the next event says how it ended.`,
		},
		{
			ID: idReloaded, Event: Reloaded, Attrs: []string{"by", "changes", "took"},
			Subject: "mtlsproxy has reloaded",
			Manuals: []string{"mtlsproxyd(8)", "mtlsproxy.toml(5)"},
			Explanation: `The configuration and the files it names were read anew, as asked for by
@MTLS_BY@; @MTLS_CHANGES@ settings or certificates are different now. It took
@MTLS_TOOK@.

Connections of upstreams that did not change stay open. "mtlsproxyctl status" shows
what holds now.`,
		},
		{
			ID: idReloadFailed, Event: ReloadFailed, Attrs: []string{"by", "error"},
			Subject: "mtlsproxy could not reload and goes on as before",
			Manuals: []string{"mtlsproxy.toml(5)", "mtlsproxyctl(1)"},
			Explanation: `A reload asked for by @MTLS_BY@ has found an error:

  @MTLS_ERROR@

Nothing has changed: the configuration and the certificates that held before hold
on. Each error has an event of its own. Mend them, try with "mtlsproxyctl check",
and reload again with "systemctl reload mtlsproxy.service". A certificate that is
not replaced expires all the same.`,
		},
		{
			ID: idReloadAborted, Event: ReloadAborted, Attrs: []string{"by", "took"},
			Subject: "mtlsproxy has ended a reload without a change",
			Manuals: []string{"mtlsproxy.toml(5)", "mtlsproxyctl(1)"},
			Explanation: `The reload asked for by @MTLS_BY@ is over after @MTLS_TOOK@, and the daemon goes on as
it was: there were errors, each of which has an event before this one.`,
		},
	}
}

// endMessages are those about the end of the daemon.
func endMessages() []Message {
	return []Message{
		{
			ID: idDraining, Event: Draining, Attrs: []string{"connections", "budget"},
			Subject: "mtlsproxy drains",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The daemon is about to end. It accepts no more connections and lets the exchanges
on its @MTLS_CONNECTIONS@ connections finish, for @MTLS_BUDGET@ at most. New connections
wait in the queues of the sockets if these are systemd's.

The time is set by [drain] timeout, and by restart_timeout for a restart. It must be
shorter than TimeoutStopSec= of the unit.`,
		},
		{
			ID: idDrainCut, Event: DrainCut, Attrs: []string{"connections"},
			Subject: "mtlsproxy has cut connections that did not finish",
			Manuals: []string{"mtlsproxyd(8)", "mtlsproxy.toml(5)"},
			Explanation: `The time for draining was used up, or a second signal came, while
@MTLS_CONNECTIONS@ connections were still busy. They were closed; their clients
see a failed request.

If this happens often, look for slow exchanges with
"mtlsproxyctl log query --min 5s", and raise [drain] timeout together with
TimeoutStopSec= of the unit.`,
		},
		{
			ID: idHandedOver, Event: HandedOver, Attrs: []string{"connections"},
			Subject: "mtlsproxy has handed idle connections to systemd",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `For a restart, @MTLS_CONNECTIONS@ idle client connections were left with systemd.
The next process serves them; their clients notice nothing.`,
		},
		{
			ID: idHandOverFailed, Event: HandOverFailed, Attrs: []string{"handed_over", "connections", "error"},
			Subject: "mtlsproxy could not hand over every connection",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `Of @MTLS_CONNECTIONS@ idle client connections, @MTLS_HANDED_OVER@ were left with systemd
for the next process:

  @MTLS_ERROR@

The others were closed; requests that had come in on them were answered if there was
time. Their clients connect anew. LimitNOFILE= and FileDescriptorStoreMax= of the unit
bound what can be handed over.`,
		},
		{
			ID: idCopiesKept, Event: CopiesKept, Attrs: []string{"error"},
			Subject: "systemd keeps copies of what it has passed to mtlsproxy",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The daemon has taken over what the process before it had left with systemd, but could
not tell systemd to drop it:

  @MTLS_ERROR@

Descriptors that the daemon does not serve stay open until the service is stopped, and
are passed to it with each start. "systemctl stop" and "systemctl start" of
mtlsproxy.service clear the store; it holds as many as FileDescriptorStoreMax= says.`,
		},
		{
			ID: idTakenOver, Event: TakenOver, Attrs: []string{"connections", "closed_by_clients"},
			Subject: "mtlsproxy has taken over idle connections",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `@MTLS_CONNECTIONS@ idle client connections of the process before were taken from
systemd, and are served as if there had been no restart. The clients of
@MTLS_CLOSED_BY_CLIENTS@ more have closed them since they were handed over.`,
		},
		{
			ID: idStopped, Event: Stopped,
			Subject: "mtlsproxy ends",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The daemon has let go of its connections, writes what is left of the request
log, and ends. systemd holds the sockets: after a restart the clients that waited
are served; after a stop of the sockets as well, connections are refused.`,
		},
	}
}
