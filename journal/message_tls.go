package journal

// tlsMessages are those about identities.
func tlsMessages() []Message {
	return []Message{
		{
			ID: idCertLoaded, Event: CertLoaded, Attrs: []string{"identity", "path", "serial", "not_after", "generation"},
			Subject: "A client certificate is in use: @MTLS_IDENTITY@",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `Identity @MTLS_IDENTITY@ uses the certificate of @MTLS_PATH@, serial
@MTLS_SERIAL@, as generation @MTLS_GENERATION@. It is valid until @MTLS_NOT_AFTER@.

Connections of older generations end after their exchange. "mtlsproxyctl certs" shows
all of them.`,
		},
		{
			ID: idCertRejected, Event: CertRejected, Attrs: []string{"identity", "path", "error"},
			Subject: "A client certificate cannot be used: @MTLS_IDENTITY@",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `The files of identity @MTLS_IDENTITY@ were read, and something is wrong with them:

  @MTLS_ERROR@

If there was a generation before, it stays in use until it expires. The key must
belong to the certificate, be readable for user _mtlsproxy and for no one else
("chown root:_mtlsproxy", "chmod 0640"); replace files by renaming new ones over
them, the key first. ProtectHome= hides what is under /home. The files are looked at
again whenever they change.`,
		},
		{
			ID: idCertExpiring, Event: CertExpiring, Attrs: []string{"identity", "path", "not_after", "left"},
			Subject: "A client certificate expires soon: @MTLS_IDENTITY@",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `The certificate of identity @MTLS_IDENTITY@, @MTLS_PATH@, expires in @MTLS_LEFT@, at
@MTLS_NOT_AFTER@. From then on no upstream that uses it can be reached.

Renew it and replace the files; the daemon notices by itself. Look at what should
have renewed it, such as a timer of your certificate tool.`,
		},
		{
			ID: idCertExpired, Event: CertExpired, Attrs: []string{"identity", "path", "not_after"},
			Subject: "A certificate or revocation list has expired: @MTLS_IDENTITY@",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `Of identity @MTLS_IDENTITY@, @MTLS_PATH@ has expired at
@MTLS_NOT_AFTER@. If it is the certificate, requests to upstreams that use it fail with
identity_expired; if it is a revocation list, servers of its issuer are refused.

Renew it and replace the file; the daemon notices by itself and serves again. If
it is new, look at the clock of this machine.`,
		},
		{
			ID: idFilesStatic, Event: FilesStatic, Attrs: []string{"path"},
			Subject: "A certificate can change only by a restart",
			Manuals: []string{"mtlsproxy-rotation(7)"},
			Explanation: `@MTLS_PATH@ is a credential of systemd, which systemd before version 260 reads only
when the service starts. After renewing it, run "systemctl restart
mtlsproxy.service": no request is lost by that. Files outside of
$CREDENTIALS_DIRECTORY are noticed when they change.`,
		},
	}
}

// upstreamMessages are those about upstreams and what comes of exchanges with them.
func upstreamMessages() []Message {
	return []Message{
		{
			ID: idUpstreamDown, Event: UpstreamDown, Attrs: []string{"upstream", "endpoint", "state", "error"},
			Subject: "An endpoint of an upstream fails: @MTLS_UPSTREAM@",
			Manuals: []string{"mtlsproxyctl(1)", "mtlsproxy.toml(5)"},
			Explanation: `Endpoint @MTLS_ENDPOINT@ of upstream @MTLS_UPSTREAM@ is "@MTLS_STATE@":

  @MTLS_ERROR@

"down" means that no connection could be made the last time, "shunned" that its breaker
has opened after failures and no request goes there for the time in MTLS_FOR, "half_open"
that one request is to find out whether it has recovered, "ill" that it fails its health
checks, "no_address" that its name has none.

Other endpoints of the upstream take its share, if there are any. It is tried again
by itself. "mtlsproxyctl upstreams" shows all of them with their last errors.`,
		},
		{
			ID: idUpstreamUp, Event: UpstreamUp, Attrs: []string{"upstream", "endpoint", "after"},
			Subject: "An endpoint of an upstream is back: @MTLS_UPSTREAM@",
			Manuals: []string{"mtlsproxyctl(1)"},
			Explanation: `Endpoint @MTLS_ENDPOINT@ of upstream @MTLS_UPSTREAM@ gets requests again, after
@MTLS_AFTER@. Nothing needs to be done. MTLS_BREAKER_OPENED of this entry tells how often
its breaker has opened in that time, if it has.`,
		},
		{
			ID: idUpstreamRefuses, Event: UpstreamRefuses, Attrs: []string{"upstream", "identity", "serial", "generation", "answers"},
			Subject: "An upstream may not accept our certificate: @MTLS_UPSTREAM@",
			Manuals: []string{"mtlsproxyctl(1)", "mtlsproxy-rotation(7)"},
			Explanation: `Identity @MTLS_IDENTITY@ came into use with serial @MTLS_SERIAL@,
generation @MTLS_GENERATION@. Every one of the first @MTLS_ANSWERS@ answers of upstream
@MTLS_UPSTREAM@ to it was 400, 401 or 403.

Some servers, such as nginx, make the TLS handshake with everybody and refuse an
unknown, expired or revoked certificate only in their answers. To see which
authorities the server accepts: "mtlsproxyctl certs probe @MTLS_IDENTITY@". Its own
log tells the rest. If the requests themselves were at fault, nothing needs to be done.`,
		},
		{
			ID: idExchangeFailed, Event: ExchangeFailed, Attrs: []string{"id", "class", "fault", "route", "upstream", "uid", "error"},
			Subject: "A request could not be forwarded",
			Manuals: []string{"mtlsproxyctl(1)", "mtlsproxyd(8)"},
			Explanation: `User @MTLS_UID@ got an answer of mtlsproxy's own on route @MTLS_ROUTE@ to upstream
@MTLS_UPSTREAM@, with class @MTLS_CLASS@; at fault is the side "@MTLS_FAULT@":

  @MTLS_ERROR@

If the class is "overloaded", MTLS_LIMIT of this entry names the limit that was reached;
"mtlsproxyctl limits" shows all of them.

"mtlsproxyctl log query --id @MTLS_ID@" shows its record. Only some of such events are
logged when there are many, and MTLS_SUPPRESSED tells how many were left out before this
one; the request log has them all.`,
		},
		{
			ID: idResponseCut, Event: ResponseCut, Attrs: []string{"id", "class", "fault", "route", "upstream", "uid", "error"},
			Subject: "A response was cut short",
			Manuals: []string{"mtlsproxyctl(1)", "mtlsproxyd(8)"},
			Explanation: `A response of upstream @MTLS_UPSTREAM@ to user @MTLS_UID@, on route @MTLS_ROUTE@, had
begun when it failed, with class @MTLS_CLASS@; at fault is the side "@MTLS_FAULT@":

  @MTLS_ERROR@

The connection of the client was broken off, so that nobody takes the response for
complete. "mtlsproxyctl log query --id @MTLS_ID@" shows its record. Only some of such
events are logged when there are many; MTLS_SUPPRESSED of this entry tells how many were
left out before it.`,
		},
	}
}
