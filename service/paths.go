package service

import (
	"os"
	"path/filepath"
	"strings"
)

// systemState is where the state of the system's daemon stands.
const systemState = "/var/lib/mtlsproxy"

// stateDirectory returns where the daemon keeps its state, or "" if there is no
// place for it: what systemd gave it (systemd.exec(5), StateDirectory=), otherwise
// the system's for root and the user's own for others (XDG Base Directory
// Specification).
func (s *Service) stateDirectory() string {
	if dir, _, _ := strings.Cut(s.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return dir
	}
	if os.Geteuid() == 0 {
		return systemState
	}
	if dir := s.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mtlsproxy")
	}
	if home := s.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "mtlsproxy")
	}
	return ""
}
