# $1 is 1 at installation and 2 at an upgrade.
# At installation the distribution's presets decide what is enabled.
if [ "$1" -eq 1 ]; then
	if [ -x /usr/lib/systemd/systemd-update-helper ]; then
		/usr/lib/systemd/systemd-update-helper install-system-units mtlsproxy.service mtlsproxy.socket mtlsproxy-admin.socket || :
	elif command -v systemctl >/dev/null 2>&1; then
		systemctl --no-reload preset mtlsproxy.service mtlsproxy.socket mtlsproxy-admin.socket || :
	fi
fi
