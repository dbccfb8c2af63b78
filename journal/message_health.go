package journal

// healthMessages are those about a daemon that is not well, or was not.
func healthMessages() []Message {
	return []Message{
		{
			ID: idWatchdogFailed, Event: WatchdogFailed, Attrs: []string{"check", "error"},
			Subject: "mtlsproxy found itself stuck",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The watchdog's check @MTLS_CHECK@ has failed:

  @MTLS_ERROR@

The daemon tells systemd no longer that it is well, and systemd restarts it. The
sockets stand and clients wait. What follows in the journal, up to the restart, shows
where each goroutine stood: please keep it and report it, as this is a bug, unless
the disk or the machine hung.`,
		},
		{
			ID: idWatchdogLate, Event: WatchdogLate, Attrs: []string{"late"},
			Subject: "mtlsproxy got too little processor time",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The watchdog's timer came @MTLS_LATE@ late. The machine or the daemon's control
group is short of processor time, or was suspended; requests were slow in that
time. Look at CPUQuota= and at the load of the machine.`,
		},
		{
			ID: idWatchdogSlow, Event: WatchdogSlow, Attrs: []string{"check", "after"},
			Subject: "A check of the watchdog takes long: @MTLS_CHECK@",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The watchdog's check @MTLS_CHECK@ was not through after @MTLS_AFTER@. The daemon still
tells systemd that it is well; if it does not get through, the next event says so.
Mostly the machine or its disk is overloaded.`,
		},
		{
			ID: idWatchdogHealed, Event: WatchdogHealed,
			Subject: "The checks of the watchdog pass again",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The daemon was stuck, or very slow, and is well again. Nothing needs to be done,
but what was wrong before is worth a look.`,
		},
		{
			ID: idWatchdogGaveUp, Event: WatchdogGaveUp, Attrs: []string{"misses"},
			Subject: "mtlsproxy asks to be started anew",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `The checks of the watchdog have failed @MTLS_MISSES@ times, and systemd was asked to
start the daemon anew. The sockets stand and clients wait. The events before name the
check; what follows shows where each goroutine stood. Please report both.`,
		},
		{
			ID: idNotifyFailing, Event: NotifyFailing, Attrs: []string{"error"},
			Subject: "systemd cannot be told how mtlsproxy is",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `Telling systemd of the daemon's state fails:

  @MTLS_ERROR@

It is tried again. Requests are served, but if this goes on, systemd takes the start
for failed, or the daemon for stuck, and restarts it. Look at NotifyAccess= and the
sandbox of the unit, which must let the daemon reach $NOTIFY_SOCKET.`,
		},
		{
			ID: idNotifyHealed, Event: NotifyHealed,
			Subject:     "systemd can be told again how mtlsproxy is",
			Manuals:     []string{"mtlsproxyd(8)"},
			Explanation: `systemd is told of the daemon's state again. Nothing needs to be done.`,
		},
		{
			ID: idBug, Event: Bug, Attrs: []string{"panic", "stack"},
			Subject: "mtlsproxy has found a bug in itself",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `A part of the daemon has panicked: @MTLS_PANIC@. Only the exchange or the admin
request it worked on has failed; the daemon goes on.

Please report it, with the field MTLS_STACK of this entry: "journalctl -o verbose
MTLS_EVENT=bug".`,
		},
		{
			ID: idEventsDropped, Event: EventsDropped, Attrs: []string{"dropped", "dropped_total"},
			Subject: "mtlsproxy has dropped events",
			Manuals: []string{"mtlsproxyd(8)"},
			Explanation: `@MTLS_DROPPED@ events did not get here, since journald was stopped or too slow
to take them. Requests were not held up by that. The least severe events went first.

The metric mtlsproxy_events_dropped_total counts them. "systemctl status
systemd-journald" tells how journald fares; "mtlsproxyctl level info" ends
debugging, which is the usual cause.`,
		},
	}
}
