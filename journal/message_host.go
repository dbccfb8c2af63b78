package journal

// hostMessages are those about sockets.
func hostMessages() []Message {
	return []Message{
		{
			ID: idDescriptorIgnored, Event: DescriptorIgnored, Attrs: []string{"name", "error"},
			Subject: "A file descriptor passed by systemd is not used: @MTLS_NAME@",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `systemd has passed a descriptor of the name "@MTLS_NAME@" that the daemon does not
serve; it was closed:

  @MTLS_ERROR@

Look at FileDescriptorName= of the socket units that name mtlsproxy.service
("systemctl list-sockets"): "admin" must be a unix stream socket, any other name must
be that of a listener, and its socket a listening stream.`,
		},
		{
			ID: idListenerExposed, Event: ListenerExposed, Attrs: []string{"listener", "address"},
			Subject: "A listener can be reached from other hosts: @MTLS_LISTENER@",
			Manuals: []string{"mtlsproxy-hardening(7)"},
			Explanation: `Listener @MTLS_LISTENER@ is at @MTLS_ADDRESS@, which is no loopback address. What
comes there is not encrypted, and no caller can be told from another: whoever reaches
it uses the client certificates of routes whose callers are "any".

Listen on 127.0.0.1, ::1 or a unix socket instead, unless a firewall or a network
namespace does the same.`,
		},
		{
			ID: idListenerFailed, Event: ListenerFailed, Attrs: []string{"listener", "error"},
			Subject: "A listener cannot take connections: @MTLS_LISTENER@",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `Taking connections on listener @MTLS_LISTENER@ fails:

  @MTLS_ERROR@

It is tried again; clients wait in the queue of the socket. "too many open files"
means that LimitNOFILE= of the unit is too low for this many connections.`,
		},
		{
			ID: idCallerDenied, Event: CallerDenied, Attrs: []string{"uid", "route", "listener", "error"},
			Subject: "A caller was denied the route @MTLS_ROUTE@",
			Manuals: []string{"mtlsproxy.toml(5)"},
			Explanation: `User @MTLS_UID@ has sent a request by listener @MTLS_LISTENER@ that would take the
route @MTLS_ROUTE@, and was refused with 403:

  @MTLS_ERROR@

To permit it, name the user or one of its groups in callers of the route, or set
allow_cross_site for web pages of other sites, and run "systemctl reload
mtlsproxy.service". Over TCP, groups are those of the user database. "mtlsproxyctl log
query --class caller_denied" lists all such requests: at most one event a minute is
logged for the same user, route and listener.`,
		},
		{
			ID: idOperatorFailed, Event: OperatorFailed, Attrs: []string{"address", "error"},
			Subject: "The admin socket or the metrics are not served",
			Manuals: []string{"mtlsproxyd(8)", "mtlsproxyctl(1)"},
			Explanation: `Serving @MTLS_ADDRESS@ has ended:

  @MTLS_ERROR@

Requests are forwarded as before, but mtlsproxyctl or the scraper there gets no
answer. "systemctl restart mtlsproxy.service" tries again; no request is lost by
that.`,
		},
		{
			ID: idModeFailed, Event: ModeFailed, Attrs: []string{"error"},
			Subject: "The permissions of a socket could not be set",
			Manuals: []string{"mtlsproxy.toml(5)"},
			Explanation: `A socket has other permissions than the configuration asks for:

  @MTLS_ERROR@

Sockets made by systemd have those of SocketMode=, SocketUser= and SocketGroup= of
their unit: set them there with "systemctl edit".`,
		},
	}
}

// adminMessages are those about operators, and the files they change.
func adminMessages() []Message {
	return []Message{
		{
			ID: idAdminAction, Event: AdminAction, Attrs: []string{"action", "subject", "outcome", "uid"},
			Subject: "An operator has asked for a change: @MTLS_ACTION@",
			Manuals: []string{"mtlsproxyctl(1)"},
			Explanation: `User @MTLS_UID@ has asked for @MTLS_ACTION@ over the admin socket.

  Outcome: @MTLS_OUTCOME@
  Of what, unless it is of all: @MTLS_SUBJECT@

If nobody should have: root, the daemon's own user and those whom [admin] operate
names may do this, if they can open the socket.`,
		},
		{
			ID: idAdminDenied, Event: AdminDenied, Attrs: []string{"path", "needs"},
			Subject: "An admin request was refused: @MTLS_PATH@",
			Manuals: []string{"mtlsproxyctl(1)", "mtlsproxy.toml(5)"},
			Explanation: `A request for @MTLS_PATH@ was refused, since it needs the permission
"@MTLS_NEEDS@". The fields MTLS_UID, MTLS_USER and MTLS_PID of this entry tell who
it was, if that is known ("journalctl -o verbose").

To permit it, name the user or group in [admin] @MTLS_NEEDS@ and reload. At most ten
such events are logged in a minute.`,
		},
		{
			ID: idAdminFailed, Event: AdminFailed,
			Subject: "An admin request has failed",
			Manuals: []string{"mtlsproxyctl(1)"},
			Explanation: `A request of mtlsproxyctl, or another client of the admin socket, could not be served.
Forwarding is not affected. The message says why, as does what the client was told;
"mtlsproxyctl status" tells how the daemon is.`,
		},
		{
			ID: idRuleUnknown, Event: RuleUnknown, Attrs: []string{"error"},
			Subject: "A rule names a user or group that does not exist",
			Manuals: []string{"mtlsproxy.toml(5)"},
			Explanation: `A rule of the configuration lets nobody in:

  @MTLS_ERROR@

Make the user or group ("systemd-sysusers", "useradd"), or correct the name, and run
"systemctl reload mtlsproxy.service".`,
		},
		{
			ID: idWatchPolling, Event: WatchPolling, Attrs: []string{"reason", "poll"},
			Subject: "Files are watched by polling only",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `Changes of some files are noticed only by looking at them every @MTLS_POLL@:

  @MTLS_REASON@

Everything works, but new certificates and configuration take up to that long to be
noticed; "systemctl reload mtlsproxy.service" is immediate. Network file systems
tell nothing of changes; otherwise raise fs.inotify.max_user_instances or
fs.inotify.max_user_watches with sysctl.`,
		},
		{
			ID: idWatchHealed, Event: WatchHealed,
			Subject: "All files are watched again",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `Changes of certificates and configuration are noticed at once again. Nothing needs
to be done.`,
		},
		{
			ID: idWatchOverflow, Event: WatchOverflow,
			Subject: "Changes of files came too fast",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `The kernel has lost notices of changed files. The daemon has looked at all files
instead, so that no change is missed. If this happens often, raise
fs.inotify.max_queued_events with sysctl, or keep the certificates in a directory
where less happens.`,
		},
	}
}
