package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestHowLongACertificateIsValid(t *testing.T) {
	f := func(notBefore, notAfter time.Duration, want string) {
		t.Helper()
		d := newDaemon(t)
		id := cannedStatus().Identities[0]
		id.NotBefore, id.NotAfter = noon.Add(notBefore), noon.Add(notAfter)
		d.says("GET /v1/identities", asJSON(http.StatusOK, []api.Identity{id}))
		if r := (host{socket: d.socket}).execute(t, "certs"); !strings.Contains(r.stdout, want) {
			t.Errorf("got %swant %s", r.stdout, want)
		}
	}
	f(-time.Hour, 90*day, "  in 90d 0h  2027-02-21 12:00:00")
	f(-time.Hour, 59*time.Second, "  in 59s  ")
	f(-time.Hour, 0, "  expired 0s ago  ")
	f(-time.Hour, -30*time.Hour, "  expired 1d 6h ago  ")
	f(time.Hour, day, "  not valid for another 1h 0m  ")
}

func TestAnIdentityThatIsNotLoaded(t *testing.T) {
	d := newDaemon(t)
	host{socket: d.socket}.execute(t, "certs", "show", "spare").want(t, result{stdout: `identity         spare
state            unavailable: its files cannot be used for 2h 0m, and nothing is loaded (missing)
last error       reading certificate: open /etc/mtlsproxy/tls/spare.crt: no such file or directory
generation       none is loaded
last good check  never
last change      never
watched by       inotify
upstreams        search
certificate      /etc/mtlsproxy/tls/spare.crt
`})
}

// identityLine is what certs and status say under their tables of an identity.
func identityLine(t *testing.T, id *api.Identity) string {
	t.Helper()
	d := newDaemon(t)
	s := cannedStatus()
	s.Identities = []api.Identity{*id}
	d.says("GET /v1/identities", asJSON(http.StatusOK, s.Identities))
	d.says("GET /v1/status", asJSON(http.StatusOK, s))
	list, status := host{socket: d.socket}.execute(t, "certs").stdout, host{socket: d.socket}.execute(t, "status").stdout
	rows := strings.SplitAfterN(list, "\n", 3) // titles, its row, and what follows
	if rows[2] != "" && !strings.Contains(status, "\n  "+rows[2]) {
		t.Errorf("certs says %sstatus does not:\n%s", rows[2], status)
	}
	return strings.TrimSuffix(rows[2], "\n")
}

func TestWhatNeedsAttentionInAnIdentity(t *testing.T) {
	f := func(want string, change func(*api.Identity)) {
		t.Helper()
		id := api.Identity{Name: "a", State: api.IdentityOK, Generation: 4, Serial: "4d2a", NotBefore: ago(day), NotAfter: ago(-90 * day)}
		change(&id)
		if want != "" {
			want = `identity "a": ` + want
		}
		if got := identityLine(t, &id); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	f("", func(*api.Identity) {})
	f("its certificate expires in 90d 0h", func(id *api.Identity) { id.State = api.IdentityExpiring })
	f("its certificate expired 1h 0m ago, and nothing is sent with it", func(id *api.Identity) { id.State, id.NotAfter = api.IdentityExpired, ago(time.Hour) })
	f("its files cannot be used for 5s, and 4d2a stays: no such file", func(id *api.Identity) {
		id.State, id.FailingSince, id.Error = api.IdentityFailing, pAgo(5*time.Second), "no such file"
	})
	f("its files cannot be used, and nothing is loaded", func(id *api.Identity) { id.State, id.Generation = api.IdentityUnavailable, 0 })
	f(`its files cannot be used, and 4d2a stays: \x1b[31m; its certificate file holds 5e3b\x0a, which is not loaded; 77 is staged, to be committed or aborted`, func(id *api.Identity) {
		id.State, id.Error, id.OnDisk, id.Staged = api.IdentityFailing, "\x1b[31m", &api.Certificate{Serial: "5e3b\n"}, &api.Staged{Certificate: api.Certificate{Serial: "77"}}
	})
}

func TestTheOrderOfConnections(t *testing.T) {
	d := newDaemon(t)
	for sort, want := range map[string]string{"age": "7 8 9", "in": "8 7 9", "out": "7 8 9", "exchanges": "7 9 8", "caller": "8 7 9", "route": "7 8 9", "listener": "9 7 8"} {
		var ids []string
		for line := range strings.Lines(host{socket: d.socket}.execute(t, "connections", "--sort", sort).stdout) {
			if id := strings.Fields(line)[0]; id != "ID" {
				ids = append(ids, id)
			}
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("by %s: %s, want %s", sort, got, want)
		}
	}
}

func TestAnIdleDaemon(t *testing.T) {
	d := newDaemon(t)
	v := cannedVersion()
	v.Version = "1.2.3"
	d.says("GET /v1/status", asJSON(http.StatusOK, api.Status{Version: v, Phase: "starting", Since: noon, Health: api.Health{Live: true, State: api.Degraded},
		Config: api.Config{Running: "aa", OnDisk: "bb", Differs: true, Error: "/etc/mtlsproxy/mtlsproxy.toml:1: no TOML", Loaded: noon}}))
	r := host{socket: d.socket}.execute(t, "status")
	r.want(t, result{stdout: r.stdout})
	golden(t, "status-idle.txt", r.stdout)
	for verb, path := range map[string]string{"routes": "routes", "upstreams": "upstreams", "certs": "identities", "connections": "connections", "limits": "limits"} {
		d.says("GET /v1/"+path, plainly("[]"))
		if r := (host{socket: d.socket}).execute(t, verb); r.code != 0 || !strings.HasPrefix(r.stdout, "no ") || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%s: %+v", verb, r)
		}
		host{socket: d.socket}.execute(t, verb, "--json").want(t, result{stdout: "[]\n"})
	}
	d.says("GET /v1/log/records", plainly(""))
	d.says("GET /v1/log/stats", asJSON(http.StatusOK, api.LogStats{}))
	host{socket: d.socket}.execute(t, "log").want(t, result{stdout: "no records\n"})
	host{socket: d.socket}.execute(t, "log", "--id", "x").want(t, result{stdout: "no records\n"})
	host{socket: d.socket}.execute(t, "log", "stats").want(t, result{stdout: "the request log is off: log.enabled = true in the configuration keeps records\n"})
}

func TestALogThatCannotBeWritten(t *testing.T) {
	d := newDaemon(t)
	s := cannedStatus()
	s.Log.Error = "no space left on device"
	d.says("GET /v1/log/stats", asJSON(http.StatusOK, s.Log))
	d.says("GET /v1/status", asJSON(http.StatusOK, s))
	for _, args := range []string{"status", "log stats"} {
		if r := (host{socket: d.socket}).execute(t, strings.Fields(args)...); !strings.Contains(r.stdout, "cannot be written: no space left on device\n") {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestAStatusOfAnotherAPI(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/status", plainly("{}"))
	if r := (host{socket: d.socket}).execute(t, "status"); r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, `its status is of API ""`) {
		t.Errorf("%+v", r)
	}
}
