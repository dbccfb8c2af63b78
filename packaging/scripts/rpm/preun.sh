# $1 is 0 at removal and 1 at an upgrade.
if [ "$1" -eq 0 ]; then
	# Sockets first: a connection in between would start the service again.
	set -- mtlsproxy.socket mtlsproxy-admin.socket mtlsproxy.service
	if [ -d /run/systemd/system ]; then
		systemctl stop 'mtlsproxy@*.socket' 'mtlsproxy-admin@*.socket' 'mtlsproxy@*.service' || :
		systemctl stop mtlsproxy.socket mtlsproxy-admin.socket || :
	fi
	# The links of the instances; what follows takes no template on every version of systemd.
	if command -v systemctl >/dev/null 2>&1; then
		systemctl --quiet --no-reload disable mtlsproxy@.socket mtlsproxy-admin@.socket mtlsproxy@.service || :
	fi
	if [ -x /usr/lib/systemd/systemd-update-helper ]; then
		/usr/lib/systemd/systemd-update-helper remove-system-units "$@" || :
	elif command -v systemctl >/dev/null 2>&1; then
		if [ -d /run/systemd/system ]; then
			systemctl --no-reload disable --now "$@" || :
		else
			systemctl --no-reload disable "$@" || :
		fi
	fi
fi
