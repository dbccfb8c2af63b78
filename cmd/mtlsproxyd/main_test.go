package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// asDaemon makes the test binary be the daemon, for tests of a whole process.
const asDaemon = "MTLSPROXYD_TEST_AS_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
	}
	leak.Main(m)
}

var update = flag.Bool("update", false, "write the files in testdata anew")

// result is what a command left.
type result struct {
	code           int
	stdout, stderr string
}

// execute runs a command in this process.
func execute(t *testing.T, dir string, args ...string) result {
	t.Helper()
	t.Setenv("COLUMNS", "80")
	var stdout, stderr bytes.Buffer
	code := run(args, world{dir: dir, stdout: &stdout, stderr: &stderr})
	return result{code, stdout.String(), stderr.String()}
}

func (r result) want(t *testing.T, want result) {
	t.Helper()
	if r.code != want.code {
		t.Errorf("exit code %d, want %d", r.code, want.code)
	}
	if r.stdout != want.stdout {
		t.Errorf("stdout:\n%swant:\n%s", r.stdout, want.stdout)
	}
	if r.stderr != want.stderr {
		t.Errorf("stderr:\n%swant:\n%s", r.stderr, want.stderr)
	}
}

// golden compares text with a file in testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s:\n%swant (go test -update writes it anew):\n%s", name, text, want)
	}
}

// identity writes client.crt, client.key and ca.crt into a new directory.
func identity(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	ca.Client(t, "client").WriteFiles(t, dir, ca)
	return dir
}

// oneUpstream are the flags for the identity in the working directory.
func oneUpstream(more ...string) []string {
	return append([]string{"--upstream", "https://api.internal:8443", "--cert", "client.crt", "--key", "client.key", "--ca", "ca.crt"}, more...)
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"check", "--version"}} {
		r := execute(t, "/", args...)
		if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "mtlsproxyd ") || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

func TestTheLinkersVersionWins(t *testing.T) {
	before := version
	defer func() { version = before }()
	version = "1.2.3"
	if r := execute(t, "/", "version"); !strings.HasPrefix(r.stdout, "mtlsproxyd 1.2.3 (go1.") {
		t.Errorf("got %q", r.stdout)
	}
}

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help.txt":       {"--help"},
		"help-run.txt":   {"run", "--help"},
		"help-check.txt": {"check", "--help"},
		"help-demo.txt":  {"demo", "--help"},
	} {
		r := execute(t, "/", args...)
		r.want(t, result{stdout: r.stdout})
		golden(t, name, r.stdout)
	}
}

func TestWrongUsage(t *testing.T) {
	f := func(complaint, hint string, args ...string) {
		t.Helper()
		execute(t, "/", args...).want(t, result{code: 64, stderr: "mtlsproxyd: " + complaint + "\nhint: " + hint + "\n"})
	}
	const general = "mtlsproxyd --help shows the commands, mtlsproxyd run --help the flags"
	f(`unknown flag --lisen, did you mean "--listen"?`, general, "--lisen", "127.0.0.1:8980")
	f("unexpected argument serve", general, "serve")
	f(`--log-level must be one of "debug","info","warn","error" but got "loud"`, general, "--log-level", "loud")
	f("unknown flag --once", "mtlsproxyd check --help shows the flags", "check", "--once")
	f("unexpected argument now", "mtlsproxyd version --help shows the flags", "version", "now")
	f(`demo: --listen: not an address (got "8980", want host:port such as 127.0.0.1:8980)`,
		"mtlsproxyd demo --help shows the flags", "demo", "--listen", "8980")
}

func TestWrongConfiguration(t *testing.T) {
	dir := identity(t)
	if err := os.Chmod(filepath.Join(dir, "client.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		want = strings.ReplaceAll(want, "DIR", dir)
		execute(t, dir, args...).want(t, result{code: 78, stderr: want})
		if len(args) == 0 || args[0] != "check" {
			execute(t, dir, append([]string{"check"}, args...)...).want(t, result{code: 78, stderr: want})
		}
	}
	if _, err := os.Stat(defaultConfig); err != nil {
		execute(t, dir).want(t, result{code: 78, stderr: `mtlsproxyd: there is no route, so there is nothing to forward; give --upstream with --cert, --key and --ca, or write /etc/mtlsproxy/mtlsproxy.toml
mtlsproxyd: there is no listener, so nobody can connect; give --listen 127.0.0.1:8980, or write [listener.http] into the configuration
hint: mtlsproxyd demo shows it at work, mtlsproxyd --help what it takes
`})
	}
	f("mtlsproxyd: DIR/absent.toml: reading configuration: no such file or directory\n",
		"--config", filepath.Join(dir, "absent.toml"))
	f(`mtlsproxyd: --cert: is missing
mtlsproxyd: --key: is missing
mtlsproxyd: --ca: is missing
`, "--upstream", "https://api.internal")
	f(`mtlsproxyd: --upstream: not an https URL (got "http://api.internal", want "https://host[:port]")
`, "--upstream", "http://api.internal", "--cert", "c", "--key", "k", "--ca", "a")
	f(`mtlsproxyd: identity "default": key "DIR/client.key": its mode 0644 lets others read or change it; run: chmod 0640 DIR/client.key (or 0600)
`, append([]string{"check"}, oneUpstream("--listen", "127.0.0.1:0")...)...)
	const put = "put the file there, or correct its path in the configuration"
	f(`mtlsproxyd: identity "default": reading certificate: open DIR/no.crt: no such file or directory; `+put+`
mtlsproxyd: identity "default": reading key: open DIR/no.key: no such file or directory; `+put+`
mtlsproxyd: identity "default": reading trust anchors: open DIR/no.ca: no such file or directory; `+put+`
`, "check", "--upstream", "https://api.internal", "--cert", "no.crt", "--key", "no.key", "--ca", "no.ca", "--listen", "127.0.0.1:0")
	f(`mtlsproxyd: --listen: "0.0.0.0:8980" can be reached from other hosts: it takes plain HTTP and lends the identity to whoever reaches it; use 127.0.0.1, [::1] or a unix socket, or set allow_remote = true
`, oneUpstream("--listen", "0.0.0.0:8980")...)
}

func TestWithoutAListener(t *testing.T) {
	dir := identity(t)
	execute(t, dir, append([]string{"run"}, oneUpstream()...)...).want(t, result{code: 78, stderr: "mtlsproxyd: there is no listener, so nobody can connect; " +
		"give --listen 127.0.0.1:8980, or write [listener.http] into the configuration\n"})
}

// The service manager may have the listeners, and routes may come later.
func TestCheckOnlyNotesWhatIsLeftToOthers(t *testing.T) {
	got := execute(t, identity(t), "check")
	if got.code != 0 || got.stderr != "note: there is no route, so every request will be answered with 503\n"+
		"note: there is no listener; the service manager must pass the sockets, as mtlsproxy.socket does\n" {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
}
