package sd

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestTheWatchdogInterval(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		bad       bool
	}{
		{"", "", 0, false},
		{"30000000", "", 30 * time.Second, false},
		{"30000000", me, 30 * time.Second, false},
		{"30000000", "1", 0, false},
		{"soon", me, 0, true},
		{"-1", me, 0, true},
		{"0", me, 0, true},
		{"9223372036854775807", me, 0, true}, // longer than a time.Duration
	} {
		got, err := WatchdogInterval(env("WATCHDOG_USEC", c.usec, "WATCHDOG_PID", c.pid))
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

func TestUnderSystemdIsWhoeverItHasStarted(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		env  func(string) string
		want bool
	}{
		{env(), false},
		{env("SYSTEMD_EXEC_PID", me, "INVOCATION_ID", "x"), true},
		{env("SYSTEMD_EXEC_PID", "1", "INVOCATION_ID", "x"), false}, // a shell's environment
		{env("INVOCATION_ID", "x"), true},
		{env("NOTIFY_SOCKET", "/run/x"), true},
	} {
		if got := UnderSystemd(c.env); got != c.want {
			t.Errorf("%v for SYSTEMD_EXEC_PID=%q INVOCATION_ID=%q", got, c.env("SYSTEMD_EXEC_PID"), c.env("INVOCATION_ID"))
		}
	}
}

func TestCredentialsAreToldByWhereTheyLead(t *testing.T) {
	dir := t.TempDir()
	creds, etc := filepath.Join(dir, "creds"), filepath.Join(dir, "etc")
	for _, d := range []string{creds, etc} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(creds, "client.key"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(creds, "client.key"), filepath.Join(etc, "link.key")); err != nil {
		t.Fatal(err)
	}
	set := env("CREDENTIALS_DIRECTORY", creds)
	for path, want := range map[string]bool{
		creds + "/client.key":        true,
		creds + "/not there yet":     true,
		etc + "/link.key":            true,
		etc + "/other.key":           false,
		creds:                        false,
		creds + "-2/client.key":      false,
		creds + "/../etc/client.key": false,
		"":                           false,
	} {
		if got := InCredentials(set, path); got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
	if InCredentials(env(), creds+"/client.key") {
		t.Error("there are no credentials")
	}
	if CredentialsDirectory(set) != creds {
		t.Errorf("directory %q", CredentialsDirectory(set))
	}
}
