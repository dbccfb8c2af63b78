# $1 is 0 at removal and 1 at an upgrade.
# An upgrade restarts services alone. Their sockets stay open, so that nobody is refused
# meanwhile.
if [ "$1" -ge 1 ]; then
	if [ -x /usr/lib/systemd/systemd-update-helper ]; then
		/usr/lib/systemd/systemd-update-helper mark-restart-system-units mtlsproxy.service 'mtlsproxy@*.service' || :
	elif [ -d /run/systemd/system ]; then
		systemctl daemon-reload || :
		systemctl try-restart mtlsproxy.service || :
		systemctl try-restart 'mtlsproxy@*.service' || :
		# What did not start is told of, and no reason to fail. A service that tries again is activating.
		for unit in mtlsproxy-admin.socket mtlsproxy.socket mtlsproxy.service; do
			case "$(systemctl is-active "$unit" 2>/dev/null)" in
			failed | activating) echo "$unit did not start: systemctl status $unit" >&2 ;;
			esac
		done
	fi
else
	rmdir /run/mtlsproxy/* /run/mtlsproxy 2>/dev/null || :
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || :
	fi
fi
