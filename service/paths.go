package service

import (
	"fmt"
	"path/filepath"
	"strings"
)

// systemState is where the state of the system's daemon stands.
const systemState = "/var/lib/mtlsproxy"

// stateDirectory returns where the daemon keeps its state, or "" if there is no
// place for it: what systemd gave it (systemd.exec(5), StateDirectory=), otherwise
// the user's own (XDG Base Directory Specification). That holds for root as well: the
// system's place belongs to the service, which could not use what root leaves there.
func (s *Service) stateDirectory() string {
	if dir := s.givenState(); dir != "" {
		return dir
	}
	if dir := s.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mtlsproxy")
	}
	if home := s.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "mtlsproxy")
	}
	return ""
}

// givenState is the state directory that systemd gave, or "".
func (s *Service) givenState() string {
	if dir, _, _ := strings.Cut(s.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return ""
}

// checkInstance refuses the one name of an instance whose state would come to lie in
// the request log of the daemon without a name: StateDirectory= of the template is
// mtlsproxy/NAME.
func (s *Service) checkInstance() error {
	if log := filepath.Join(systemState, "log"); s.givenState() == log {
		return fmt.Errorf("%w: an instance cannot be called log: its state directory would be %s, which is the request log of mtlsproxy.service; give the instance and its configuration another name", ErrConfig, log)
	}
	return nil
}
