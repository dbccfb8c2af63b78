package main

import (
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// telling makes systemd say that the service and its admin socket are in these states.
func telling(service, socket unitState) func(...string) map[string]unitState {
	return func(names ...string) map[string]unitState {
		return map[string]unitState{names[0]: service, names[1]: socket}
	}
}

var (
	running = unitState{"loaded", "active"}
	dead    = unitState{"loaded", "inactive"}
	masked  = unitState{"masked", "inactive"}
)

func TestAnAdminSocketThatIsGoneFromARunningDaemon(t *testing.T) {
	system := filepath.Join(t.TempDir(), "mtlsproxy", "admin.sock")
	const other = "; or name its socket: --socket PATH or MTLSPROXY_ADMIN_SOCKET"
	f := func(units func(...string) map[string]unitState, socket, message, hint string) {
		t.Helper()
		host{socket: socket, system: system, units: units}.execute(t, "status").want(t, result{code: exitNotRunning, stderr: "mtlsproxyctl: no daemon answers on " + socket +
			": there is no such socket" + message + "\nhint: " + hint + "\n"})
	}
	f(telling(running, dead), system, ", though mtlsproxy.service runs", "bring its admin socket back with: systemctl restart mtlsproxy-admin.socket")
	f(telling(unitState{"loaded", "reloading"}, masked), system, ", though mtlsproxy.service runs",
		"bring its admin socket back with: systemctl unmask mtlsproxy-admin.socket && systemctl restart mtlsproxy-admin.socket")
	f(telling(dead, dead), system, "", "start it with: systemctl start mtlsproxy"+other)
	f(telling(dead, masked), system, "", "start it with: systemctl start mtlsproxy; its admin socket is masked: systemctl unmask mtlsproxy-admin.socket && systemctl restart mtlsproxy-admin.socket"+other)
	f(nil, system, "", "start it with: systemctl start mtlsproxy; if it runs, bring its admin socket back with: systemctl restart mtlsproxy-admin.socket"+other)
	instance := filepath.Join(filepath.Dir(system), "billing", "admin.sock")
	f(telling(running, running), instance, ", though mtlsproxy@billing.service runs", "bring its admin socket back with: systemctl restart mtlsproxy-admin@billing.socket")
	f(telling(running, running), filepath.Join(filepath.Dir(system), "a", "b", "admin.sock"), "", "start it with: systemctl start mtlsproxy"+other)
}

func TestAnAdminSocketThatRefusesBesideARunningDaemon(t *testing.T) {
	socket := staleSocket(t)
	r := host{socket: socket, system: socket, units: telling(running, running)}.execute(t, "status")
	r.want(t, result{code: exitNotRunning, stderr: "mtlsproxyctl: no daemon answers on " + socket +
		": connections are refused, though mtlsproxy.service runs\nhint: bring its admin socket back with: systemctl restart mtlsproxy-admin.socket\n"})
}

// staleSocket is one that nobody listens on.
func staleSocket(t *testing.T) string {
	t.Helper()
	d := newDaemon(t)
	path := filepath.Join(filepath.Dir(d.socket), "stale")
	l := listen(t, path)
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnAdminSocketThatNobodyAcceptsOn(t *testing.T) {
	d := newDaemon(t)
	socket := filepath.Join(filepath.Dir(d.socket), "alone")
	l := listen(t, socket)
	defer l.Close()
	host{socket: socket, system: socket, units: telling(running, running)}.execute(t, "status", "--timeout=20ms").want(t, result{code: exitFailed, stderr: "mtlsproxyctl: " + socket +
		" takes connections, but nobody answered within 20ms\nhint: journalctl -u mtlsproxy.service may tell what holds the daemon; if it runs without this socket: systemctl restart mtlsproxy-admin.socket\n"})
}

func TestADaemonThatIsOnlySlowKeepsItsAdminSocket(t *testing.T) {
	d := newDaemon(t)
	answer, _ := hang(t, "")
	d.says("GET /v1/status", answer)
	// Long enough for its version, which it tells at once.
	r := host{socket: d.socket, system: d.socket}.execute(t, "status", "--timeout=1s")
	if r.code != exitFailed || !strings.Contains(r.stderr, " did not answer within 1s\nhint: --timeout 6s gives it longer") {
		t.Errorf("%+v", r)
	}
}

func TestWhatSystemdTellsOfUnits(t *testing.T) {
	got := parseStates("Id=mtlsproxy.service\nLoadState=loaded\nActiveState=active\n\nActiveState=inactive\nId=mtlsproxy-admin.socket\nLoadState=masked\n")
	if want := map[string]unitState{"mtlsproxy.service": running, "mtlsproxy-admin.socket": masked}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := parseStates(""); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
