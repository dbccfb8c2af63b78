package journal

// logMessages are those about the request log.
func logMessages() []Message {
	return []Message{
		{
			ID: idLogFailing, Event: LogFailing, Attrs: []string{"directory", "error"},
			Subject: "The request log cannot be written",
			Manuals: []string{"mtlsproxy.toml(5)", "mtlsproxyd(8)"},
			Explanation: `Records of requests cannot be written in @MTLS_DIRECTORY@:

  @MTLS_ERROR@

Requests are served all the same; records are kept in memory as long as there is room
([log] buffer), and then dropped. Do what the error says: make room on the disk, mend
the permissions of the directory, which must belong to the user of the unit, or, if
it is not under /var/lib/mtlsproxy, name it in ReadWritePaths= or LogsDirectory= of
the unit. It is tried again by itself.`,
		},
		{
			ID: idLogHealed, Event: LogHealed, Attrs: []string{"directory", "dropped"},
			Subject: "The request log is written again",
			Manuals: []string{"mtlsproxy.toml(5)"},
			Explanation: `Records are written in @MTLS_DIRECTORY@ again. @MTLS_DROPPED@ records were
dropped since the start of the daemon, for lack of room in memory.`,
		},
		{
			ID: idLogQuarantined, Event: LogQuarantined, Attrs: []string{"segment", "to", "why"},
			Subject: "A damaged file of the request log was put aside: @MTLS_SEGMENT@",
			Manuals: []string{"mtlsproxyctl(1)", "mtlsproxyd(8)"},
			Explanation: `File @MTLS_SEGMENT@ of the request log is damaged or cannot be used:

  @MTLS_WHY@

What could be read of it was copied to a new file in its place; the file itself is
in @MTLS_TO@, with a note. "mtlsproxyctl log stats" lists what was put aside. It is
deleted when it is older than [log] max_age or its room is needed. Damage mostly
comes from the disk: look for errors of the kernel with "journalctl -k".`,
		},
		{
			ID: idLogUnreadable, Event: LogUnreadable, Attrs: []string{"segment", "error"},
			Subject: "A file of the request log cannot be read: @MTLS_SEGMENT@",
			Manuals: []string{"mtlsproxyctl(1)"},
			Explanation: `File @MTLS_SEGMENT@ of the request log cannot be read:

  @MTLS_ERROR@

Its records are missing from what "mtlsproxyctl log" shows, until it can be read again.
The file is kept, and "mtlsproxyctl log stats" names it. A file that another user has
made, as a copy made by root, is to be given to the user of the unit with chown; that
is noticed within a minute. New records are not affected.`,
		},
		{
			ID: idLogLeftover, Event: LogLeftover, Attrs: []string{"error"},
			Subject: "A file of the request log is in the way",
			Manuals: []string{"mtlsproxy.toml(5)"},
			Explanation: `A file in the directory of the request log could not be moved or deleted:

  @MTLS_ERROR@

The log goes on without it, but its bytes stay on the disk and may count for [log]
max_size. Mend the permissions of the directory, which must belong to user
_mtlsproxy, or delete the file.`,
		},
	}
}
