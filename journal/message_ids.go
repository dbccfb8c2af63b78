package journal

// EventAttr is the key of the attribute that says which event of [Messages] a log entry
// is. Its value is one of the constants below.
const EventAttr = "event"

// The events that have a MESSAGE_ID and an entry in the message catalog. Packages that do
// not know this one write the text.
const (
	Started        = "started"          // the daemon serves
	StartFailed    = "start_failed"     // the daemon ends before it has served
	Unconfigured   = "unconfigured"     // there is nothing to forward to yet
	Degraded       = "degraded"         // the daemon serves, but without a part of it
	Reloading      = "reloading"        // a reload begins
	Reloaded       = "reloaded"         // a reload is over and holds
	ReloadFailed   = "reload_failed"    // a reload has changed nothing; one event for each error
	ReloadAborted  = "reload_aborted"   // a reload is over and has changed nothing
	Draining       = "draining"         // the daemon lets exchanges finish
	DrainCut       = "drain_cut"        // connections were cut at the end of a drain
	HandedOver     = "handed_over"      // idle connections go to the next process
	HandOverFailed = "hand_over_failed" // connections could not go to the next process
	CopiesKept     = "copies_kept"      // systemd could not be told to drop what it has passed on
	TakenOver      = "taken_over"       // idle connections came from the last process
	Stopped        = "stopped"          // the daemon has drained and ends
	WatchdogFailed = "watchdog_failed"  // a check of the watchdog fails
	WatchdogLate   = "watchdog_late"    // the watchdog's own timer came late
	WatchdogSlow   = "watchdog_slow"    // a check of the watchdog takes long
	WatchdogHealed = "watchdog_healed"  // the checks of the watchdog pass again
	WatchdogGaveUp = "watchdog_gave_up" // the daemon asks to be started anew
	NotifyFailing  = "notify_failing"   // systemd cannot be told how the daemon is
	NotifyHealed   = "notify_healed"    // systemd can be told again
	Bug            = "bug"              // the daemon has caught a panic
	EventsDropped  = "events_dropped"   // events did not reach journald

	CertLoaded      = "cert_loaded"      // an identity has a new generation
	CertRejected    = "cert_rejected"    // the files of an identity cannot be used
	CertExpiring    = "cert_expiring"    // a certificate in use expires soon
	CertExpired     = "cert_expired"     // a certificate in use has expired
	FilesStatic     = "files_static"     // files lie where they do not change
	UpstreamDown    = "upstream_down"    // an endpoint fails
	UpstreamUp      = "upstream_up"      // an endpoint answers again
	UpstreamRefuses = "upstream_refuses" // each of the first answers to a certificate was 400, 401 or 403
	ExchangeFailed  = "exchange_failed"  // an exchange was answered with an error that is not the client's
	ResponseCut     = "response_cut"     // a response ended before its end

	DescriptorIgnored = "descriptor_ignored" // systemd passed a descriptor that is not served
	ListenerExposed   = "listener_exposed"   // a listener can be reached from other hosts
	ListenerFailed    = "listener_failed"    // a listener cannot take connections
	OperatorFailed    = "operator_failed"    // the admin socket or the metrics are not served
	ModeFailed        = "mode_failed"        // a socket's permissions cannot be set
	CallerDenied      = "caller_denied"      // a caller may not use a route
	AdminAction       = "admin_action"       // somebody has changed something over the admin API
	AdminDenied       = "admin_denied"       // somebody may not do what they asked for
	AdminFailed       = "admin_failed"       // an admin request has failed
	RuleUnknown       = "rule_unknown"       // a permission names nobody
	WatchPolling      = "watch_polling"      // changes of files are noticed late
	WatchHealed       = "watch_healed"       // changes of files are noticed at once again
	WatchOverflow     = "watch_overflow"     // inotify has lost events

	LogFailing     = "log_failing"     // the request log cannot be written
	LogHealed      = "log_healed"      // the request log is written again
	LogQuarantined = "log_quarantined" // a damaged segment was put aside
	LogUnreadable  = "log_unreadable"  // a segment cannot be read now
	LogLeftover    = "log_leftover"    // a file of the request log cannot be moved or deleted
)

// The MESSAGE_IDs, made with systemd-id128 new. They are known to scripts and to the
// catalogs of installed packages: none may ever change, or come to stand for another
// event.
const (
	idStarted        = "544df1120e89409fa3652126729eea89"
	idStartFailed    = "5ddd339917364707841b82a908b65e36"
	idUnconfigured   = "4c8dcfaba7eb45e98935e6bb2e451225"
	idDegraded       = "735a5ac3000a4207889cfaa589098e79"
	idReloading      = "bfae366481e34f7c91e55f684b972d9e"
	idReloaded       = "61888285aa7c4f5c9165b61b315a8268"
	idReloadFailed   = "c515524da40946cfad4d87620248c747"
	idReloadAborted  = "8aaac570f606417f8d2cefc0366845cd"
	idDraining       = "32334d5cf88c478ea54f4a6bb84b1ee7"
	idDrainCut       = "39d8dc8901e64d0f9120a4f45409781a"
	idHandedOver     = "17eda979074e42fe99fbb23afe569e1b"
	idHandOverFailed = "bbdf9168f9c74125bc8ac157631b42c7"
	idCopiesKept     = "276024893e4144cdb1f00e775c7c3514"
	idTakenOver      = "fa966fa3dd24429badf199031a224aad"
	idStopped        = "c4cc4b3a769d4ab1a255c85cb8afb370"
	idWatchdogFailed = "00a748194e3940ce884808335b654bb0"
	idWatchdogLate   = "f219eaebf009477fa7fc0522811c5581"
	idWatchdogSlow   = "f7b57476f35249b79c6e26b34bb62c28"
	idWatchdogHealed = "495733cd5f5f4b9c8133fba3cc10d58b"
	idWatchdogGaveUp = "0c456cd052794a4bb798ff986f948f9f"
	idNotifyFailing  = "1af6b019ea6441e2a2da8f71d8538e6e"
	idNotifyHealed   = "a4e83866ce7f40a1bba061a83565fe6c"
	idBug            = "f0288eb3415f46cdb0ed5cfca93373de"
	idEventsDropped  = "e1c304421ace448782ad86950a6240e0"

	idCertLoaded      = "fa7d806ab915432e8ce30313c10b11c3"
	idCertRejected    = "9e82c09e50bf4b228767ddb8ce196b23"
	idCertExpiring    = "ebedfb96ab254a75a2126a1f9c988c9e"
	idCertExpired     = "b121a4a942964e808e57ed05fb285607"
	idFilesStatic     = "236662f4ac9f4be0b10ea3373e54fa73"
	idUpstreamDown    = "57ad9728a2ce41259cabb0538e708803"
	idUpstreamUp      = "a86fce4b32034eaf91cba17243e8081b"
	idUpstreamRefuses = "ff7769c08c324225b7d1750a88a20340"
	idExchangeFailed  = "a5a95e681680449e9d3ed9836f4d10a8"
	idResponseCut     = "9c76f6f07b494058a59fb0e753720439"

	idDescriptorIgnored = "0887f91b336d47c8b385a604f1e9e0cf"
	idListenerExposed   = "45c6249e5220456ea9d7f1ea2ba013f5"
	idListenerFailed    = "240bcda1a6c94c439b6890a5500aaa13"
	idOperatorFailed    = "a26856485d274bc0ae5f8c2da864cdaf"
	idModeFailed        = "556ed5d6e1db45d0b221915cf4727ab1"
	idCallerDenied      = "ff02d465c2604a198bbe40b56372ad5c"
	idAdminAction       = "f64ed6f1f21d428d9d52151050d33efc"
	idAdminDenied       = "97d5a402fef64c38b79dd02a1b911bfa"
	idAdminFailed       = "6bfb056273ce43ef9cca71f4176a8ac2"
	idRuleUnknown       = "f32b794aa7bd4bfa821801454d92b4be"
	idWatchPolling      = "62053d44274b41eeb73a218bb5ad6b27"
	idWatchHealed       = "991a5c9cf01c4f6eb150b51c4adb2cb5"
	idWatchOverflow     = "662eefdee792484eadcdce01691c77c7"

	idLogFailing     = "200c1a141fe14e05b37961aa9696b065"
	idLogHealed      = "4c7393c276a5415482f277c2aa75ead0"
	idLogQuarantined = "4bb3da8fa94143b6a5a065b8ed20e801"
	idLogUnreadable  = "1d1c93dce01e480db2a774d67f385f56"
	idLogLeftover    = "9453bfa3d8614fbcbf7a60f25dd89b8c"
)
