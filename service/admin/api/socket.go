package api

import "path/filepath"

// SystemSocket is where the admin socket of the system's daemon stands.
const SystemSocket = "/run/mtlsproxy/admin.sock"

// Sockets returns where a user's daemon may have its admin socket, the likeliest
// first: a daemon makes the first, mtlsproxyctl looks for each. It is in what
// systemd gave the daemon (systemd.exec(5), RuntimeDirectory=), in the user's own
// runtime directory (XDG Base Directory Specification), or at SystemSocket, which
// is also where root's is. getenv is os.Getenv, uid the user's.
func Sockets(uid int, getenv func(string) string) []string {
	if dir := getenv("RUNTIME_DIRECTORY"); filepath.IsAbs(dir) {
		return []string{filepath.Join(dir, "admin.sock"), SystemSocket}
	}
	if dir := getenv("XDG_RUNTIME_DIR"); uid != 0 && filepath.IsAbs(dir) {
		return []string{filepath.Join(dir, "mtlsproxy", "admin.sock"), SystemSocket}
	}
	return []string{SystemSocket}
}
