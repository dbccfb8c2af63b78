package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// serviceFiles writes a configuration with an identity whose directory others may enter, and returns its path.
func serviceFiles(t *testing.T) (dir, conf string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "check") // t.TempDir is closed to others
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	ca.Client(t, "client").WriteFiles(t, dir, ca)
	return dir, writeConf(t, dir, filepath.Join(dir, "client.key"))
}

func writeConf(t *testing.T, dir, key string) string {
	t.Helper()
	conf := filepath.Join(dir, "mtlsproxy.toml")
	must(t, os.WriteFile(conf, []byte("[identity.default]\ncert = \"client.crt\"\nkey = \""+key+"\"\nca = \"ca.crt\"\n"), 0o644))
	return conf
}

// executeFor runs check in this process, with u as the service that has the configuration.
func executeFor(t *testing.T, u *unit, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := append(os.Environ(), asDaemon+"=1", "GOCOVERDIR=")
	code := run(append([]string{"check"}, args...), world{env: env, dir: "/", stdout: &stdout, stderr: &stderr, unit: func(string) *unit { return u }})
	return result{code, stdout.String(), stderr.String()}
}

// nobody is the service of a user who is not root.
func nobody(t *testing.T) *unit {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP only root can look as another user")
	}
	if _, err := user.Lookup("nobody"); err != nil {
		t.Skip("SKIP there is no user to look as: ", err)
	}
	return &unit{name: "mtlsproxy.service", user: "nobody"}
}

func TestCheckByRootFindsWhatTheServiceMayNotRead(t *testing.T) {
	u := nobody(t)
	dir, conf := serviceFiles(t)
	key := filepath.Join(dir, "client.key")
	r := executeFor(t, u, "--config", conf)
	const who = "mtlsproxyd: as user nobody of mtlsproxy.service: "
	if r.code != 78 || r.stdout != "" || !strings.HasPrefix(r.stderr, who+`identity "default": reading key: open `+key+": permission denied") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("with a key of root alone: %+v", r)
	}

	var got checked
	r = executeFor(t, u, "--json", "--config", conf)
	must(t, json.Unmarshal([]byte(r.stdout), &got))
	if r.code != 78 || got.OK || len(got.Errors) != 1 || !strings.HasPrefix(got.Errors[0], "as user nobody") {
		t.Errorf("as JSON: %+v", r)
	}

	must(t, os.Chmod(conf, 0o600))
	if r := executeFor(t, u, "--config", conf); r.code != 78 || !strings.Contains(r.stderr, who+conf+": reading configuration: permission denied") {
		t.Errorf("with a configuration of root alone: %+v", r)
	}
}

func TestCheckByRootSaysForWhomItLooked(t *testing.T) {
	u := nobody(t)
	dir, conf := serviceFiles(t)
	them, err := u.credential()
	must(t, err)
	must(t, os.Chown(filepath.Join(dir, "client.key"), 0, int(them.Gid)))
	must(t, os.Chmod(filepath.Join(dir, "client.key"), 0o640))
	if r := executeFor(t, u, "--config", conf, "--set", "drain.timeout=5s"); r.code != 0 || !strings.HasSuffix(r.stderr, "note: the files were read as root, and as user nobody, as mtlsproxy.service does\n") {
		t.Errorf("%+v", r)
	}
	if r := executeFor(t, &unit{name: "mtlsproxy.service"}, "--config", conf); r.code != 0 || !strings.HasSuffix(r.stderr, "note: the files were read as user root, as mtlsproxy.service does\n") {
		t.Errorf("of a service of root: %+v", r)
	}
	r := executeFor(t, &unit{name: "mtlsproxy.service", user: "no-such-user"}, "--config", conf)
	if r.code == 0 || !strings.Contains(r.stderr, "mtlsproxy.service cannot run: its user: ") {
		t.Errorf("of a user who does not exist: %+v", r)
	}
}

func TestCheckOfOneUpstreamIsForNoService(t *testing.T) {
	dir := identity(t)
	u := &unit{name: "mtlsproxy.service", user: "no-such-user"}
	args := oneUpstream("--listen", "127.0.0.1:0")
	for i, a := range args {
		if strings.HasSuffix(a, ".crt") || strings.HasSuffix(a, ".key") {
			args[i] = filepath.Join(dir, a)
		}
	}
	if r := executeFor(t, u, args...); r.code != 0 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
}

func TestCheckFindsWhatTheSandboxHides(t *testing.T) {
	dir, conf := serviceFiles(t)
	u := &unit{name: "mtlsproxy.service", hidden: []hidden{{dir, "ProtectHome=yes"}}}
	r := executeFor(t, u, "--config", conf)
	want := ""
	for _, name := range []string{"client.crt", "client.key", "ca.crt"} {
		want += `mtlsproxyd: identity "default": "` + filepath.Join(dir, name) + `" is hidden from mtlsproxy.service by its ProtectHome=yes; put the file elsewhere, such as /etc/mtlsproxy/tls` + "\n"
	}
	r.want(t, result{code: 78, stderr: want})

	other, conf := serviceFiles(t)
	must(t, os.Rename(filepath.Join(other, "ca.crt"), filepath.Join(dir, "ca.crt")))
	must(t, os.Symlink(filepath.Join(dir, "ca.crt"), filepath.Join(other, "ca.crt")))
	if r := executeFor(t, u, "--config", conf); r.code != 78 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, `ca.crt", which leads to "`+filepath.Join(dir, "ca.crt")+`", is hidden`) {
		t.Errorf("through a link: %+v", r)
	}
}

func TestCheckLeavesCredentialsToTheRunningDaemon(t *testing.T) {
	dir, _ := serviceFiles(t)
	conf := writeConf(t, dir, "${CREDENTIALS_DIRECTORY}/client.key")
	r := executeFor(t, nil, "--config", conf)
	if r.code != 0 || !strings.Contains(r.stdout, `"/run/credentials/mtlsproxy.service/client.key"`) ||
		!strings.Contains(r.stderr, "note: identity.default.key: only systemd sets CREDENTIALS_DIRECTORY, for the service alone, so only the running daemon can check what is there: mtlsproxyctl check\n") {
		t.Errorf("%+v", r)
	}

	must(t, os.Remove(filepath.Join(dir, "ca.crt")))
	r = executeFor(t, nil, "--config", conf)
	if r.code != 78 || !strings.HasPrefix(r.stderr, `mtlsproxyd: identity "default": reading trust anchors: `) || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("what is wrong with the rest: %+v", r)
	}

	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if r := executeFor(t, nil, "--config", conf); r.code != 78 || strings.Contains(r.stderr, "client.key") {
		t.Errorf("where the variable is set: %+v", r)
	}
}

func TestCheckOfCredentialsLooksAtWhatComesAfterTheIdentities(t *testing.T) {
	dir, _ := serviceFiles(t)
	conf := writeConf(t, dir, "${CREDENTIALS_DIRECTORY}/client.key")
	token := filepath.Join(dir, "token")
	if r := executeFor(t, nil, "--config", conf, "--set", "metrics.token_file="+token); r.code != 78 || !strings.Contains(r.stderr, token) {
		t.Errorf("a token that is missing: %+v", r)
	}
	if r := executeFor(t, nil, "--config", conf, "--set", "metrics.token_file=${CREDENTIALS_DIRECTORY}/token"); r.code != 0 || !strings.Contains(r.stderr, "note: identity.default.key, metrics.token_file: only systemd") {
		t.Errorf("a token among the credentials: %+v", r)
	}
}

func TestTheUnitOfAConfiguration(t *testing.T) {
	for file, want := range map[string]string{
		"/etc/mtlsproxy/mtlsproxy.toml":             "mtlsproxy.service",
		"/etc/mtlsproxy/billing.toml":               "mtlsproxy@billing.service",
		"/etc/mtlsproxy/mtlsproxy.d/mtlsproxy.toml": "",
		"/srv/mtlsproxy.toml":                       "",
	} {
		if got := unitName(file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if u := parseUnit("mtlsproxy.service", "User=\nLoadState=not-found\n"); u != nil {
		t.Errorf("of a unit that is not installed: %+v", u)
	}
	u := parseUnit("mtlsproxy.service", "ProtectHome=read-only\nPrivateTmp=no\nUser=_mtlsproxy\nGroup=ssl\nSupplementaryGroups=a b\nLoadState=loaded\n")
	if u.user != "_mtlsproxy" || u.group != "ssl" || len(u.groups) != 2 || len(u.hidden) != 0 {
		t.Errorf("%+v", u)
	}
	u = parseUnit("mtlsproxy.service", "ProtectHome=yes\nPrivateTmp=yes\nLoadState=loaded\n")
	if len(u.hidden) != 5 || u.hidden[0] != (hidden{"/home", "ProtectHome=yes"}) {
		t.Errorf("%+v", u)
	}
}

func TestCheckByAStrangerGivesNoAdviceThatBreaksTheService(t *testing.T) {
	closed := wrongConfig([]string{"a.toml: reading configuration: permission denied; let it be read, with: chgrp app a.toml", "a.toml:3: another mistake"})
	got := service.Lines(withoutAdvice(closed, &unit{name: "mtlsproxy.service", user: "_mtlsproxy"}))
	if len(got) != 2 || got[0] != "a.toml:3: another mistake" || !strings.HasSuffix(got[1], "mtlsproxy.service reads as user _mtlsproxy: run this as root, or ask the running daemon: mtlsproxyctl check") {
		t.Errorf("%q", got)
	}
}

func TestCheckByTheUserOfTheServiceKeepsItsAdvice(t *testing.T) {
	closed := wrongConfig([]string{"a.toml: reading configuration: permission denied; advice"})
	u := &unit{name: "mtlsproxy.service", user: strconv.Itoa(os.Geteuid())}
	if got := u.notForStrangers(closed); got != closed {
		t.Errorf("%v", got)
	}
}

func TestCheckNotesRulesThatNameNobody(t *testing.T) {
	dir, conf := serviceFiles(t)
	text, err := os.ReadFile(conf)
	must(t, err)
	must(t, os.WriteFile(conf, append(text, []byte("[upstream.u]\nendpoints = [\"a:1\"]\nserver_name = \"a\"\n[[route]]\nname = \"r\"\nhost = [\"a\"]\ncallers = [\"user:no-such-user\"]\nupstream = \"u\"\n")...), 0o644))
	r := executeFor(t, nil, "--config", conf)
	if r.code != 0 || !strings.Contains(r.stderr, "note: a rule names nobody who exists, so it lets nobody in: [route.r] callers: ") {
		t.Errorf("in %s: %+v", dir, r)
	}
}
