package service

import (
	"errors"
	"strings"
	"testing"
)

// at is a service in an environment.
func at(env map[string]string) *Service {
	return &Service{Options: Options{Getenv: func(name string) string { return env[name] }}}
}

func TestADaemonByHandLeavesTheSystemsStateAlone(t *testing.T) {
	for want, env := range map[string]map[string]string{ // whoever runs it, root too
		"/root/.local/state/mtlsproxy": {"HOME": "/root"},
		"/srv/state/mtlsproxy":         {"HOME": "/root", "XDG_STATE_HOME": "/srv/state"},
		"/var/lib/mtlsproxy":           {"HOME": "/root", "STATE_DIRECTORY": "/var/lib/mtlsproxy"},
		"/var/lib/a":                   {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"},
		"":                             {"XDG_STATE_HOME": "state", "HOME": "."},
	} {
		if got := at(env).stateDirectory(); got != want {
			t.Errorf("%v: %q, want %q", env, got, want)
		}
	}
}

func TestAnInstanceCalledLogIsRefused(t *testing.T) {
	err := at(map[string]string{"STATE_DIRECTORY": "/var/lib/mtlsproxy/log/"}).listen(new(world), new(world))
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "an instance cannot be called log") || len(Lines(err)) != 1 {
		t.Errorf("%v", err)
	}
	for _, other := range []string{"/var/lib/mtlsproxy", "/var/lib/mtlsproxy/logs", "/srv/log", ""} {
		if err := at(map[string]string{"STATE_DIRECTORY": other}).checkInstance(); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestTheUnitOfAPassedSocket(t *testing.T) {
	for _, c := range []struct{ file, name, want string }{
		{"/etc/mtlsproxy/mtlsproxy.toml", "http", "mtlsproxy.socket"},
		{"/etc/mtlsproxy/mtlsproxy.toml", "admin", "mtlsproxy-admin.socket"},
		{"/etc/mtlsproxy/billing.toml", "http", "mtlsproxy@billing.socket"},
		{"/etc/mtlsproxy/billing.toml", "admin", "mtlsproxy-admin@billing.socket"},
		{"/etc/mtlsproxy/mtlsproxy.toml", "batch", "the unit with FileDescriptorName=batch"},
		{"/srv/mtlsproxy.toml", "http", "the unit with FileDescriptorName=http"},
	} {
		s := &Service{Options: Options{File: c.file}}
		if got := s.socketUnit(c.name); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.file, got, c.want)
		}
	}
	f := func(address, unit, want string) {
		t.Helper()
		if got := remedy(unit, address); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("127.0.0.1:9999", "mtlsproxy.socket", "systemctl edit mtlsproxy.socket changes that")
	f("none", "mtlsproxy-admin.socket", "systemctl mask --now mtlsproxy-admin.socket turns it off")
	f("none", "the unit with FileDescriptorName=admin", "change it there")
}
