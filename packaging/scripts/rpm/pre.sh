# $1 is 1 at installation and 2 at an upgrade.
# The users are needed before the files: the directory for keys belongs to their group.
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers - <<'END' || :
g mtlsproxy - -
g mtlsproxy-admin - -
u _mtlsproxy - "mTLS forwarding proxy" /nonexistent /usr/sbin/nologin
END
else
	for group in mtlsproxy mtlsproxy-admin _mtlsproxy; do
		getent group "$group" >/dev/null || groupadd -r "$group" || :
	done
	getent passwd _mtlsproxy >/dev/null ||
		useradd -r -M -g _mtlsproxy -d /nonexistent -s /usr/sbin/nologin -c 'mTLS forwarding proxy' _mtlsproxy || :
fi
