# $1 is 0 at removal and 1 at an upgrade.
# An upgrade restarts services alone. Their sockets stay open, so that nobody is refused
# meanwhile.
if [ "$1" -ge 1 ]; then
	if [ -x /usr/lib/systemd/systemd-update-helper ]; then
		/usr/lib/systemd/systemd-update-helper mark-restart-system-units mtlsproxy.service 'mtlsproxy@*.service' || :
	elif [ -d /run/systemd/system ]; then
		systemctl daemon-reload || :
		systemctl try-restart mtlsproxy.service || echo "mtlsproxy did not start: systemctl status mtlsproxy.service" >&2
		systemctl try-restart 'mtlsproxy@*.service' || :
	fi
else
	rmdir /run/mtlsproxy/* /run/mtlsproxy 2>/dev/null || :
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || :
	fi
fi
