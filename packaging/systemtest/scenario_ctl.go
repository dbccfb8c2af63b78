package main

import (
	"strings"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/machine"
)

// as runs a command as another user, with no more than that user's rights.
func (t *trial) as(user, name string, args ...string) machine.Result {
	group := t.must("id", "--group", user)
	return t.run("setpriv", append([]string{"--reuid=" + user, "--regid=" + group, "--init-groups", "--inh-caps=-all", "--", name}, args...)...)
}

// verbs of mtlsproxyctl that end by themselves. Those that need no daemon work for
// everybody.
var verbs = []struct {
	line  string
	alone bool
}{
	{line: "status"}, {line: "routes"}, {line: "upstreams"}, {line: "certs"}, {line: "top --once"},
	{line: "log"}, {line: "log query"}, {line: "log stats"}, {line: "log export"}, {line: "events"}, {line: "connections"}, {line: "limits"},
	{line: "check"}, {line: "check --diff"}, {line: "reload"},
	{line: "drain echo"}, {line: "resume echo"}, {line: "level"}, {line: "level debug"}, {line: "level info"},
	{line: "metrics"}, {line: "version"},
	{line: "--version", alone: true}, {line: "--help", alone: true},
	{line: "completion bash", alone: true}, {line: "completion zsh", alone: true}, {line: "completion fish", alone: true},
}

func ctlVerbs(t *trial) {
	t.site()
	t.sh("useradd --groups mtlsproxy-admin member")
	for _, user := range []string{"root", "member", "nobody"} {
		for _, verb := range verbs {
			want := 0
			if user == "nobody" && !verb.alone {
				want = 4
			}
			r := t.as(user, "mtlsproxyctl", strings.Fields(verb.line)...)
			if r.Code != want {
				t.errorf("mtlsproxyctl %s as %s: exit code %d, want %d: %s", verb.line, user, r.Code, want, r.Stderr)
			}
			if want == 4 && !strings.Contains(r.Stdout+r.Stderr, "mtlsproxy-admin") {
				t.errorf("mtlsproxyctl %s as %s does not name the group", verb.line, user)
			}
		}
	}
	// What members of the group change is kept with their number.
	uid := t.must("id", "--user", "member")
	t.says("mtlsproxyctl events", t.must("mtlsproxyctl", "events"), uid)

	t.must("systemctl", append([]string{"stop"}, units...)...)
	if r := t.run("mtlsproxyctl", "status"); r.Code != 3 {
		t.errorf("mtlsproxyctl status while it is stopped: exit code %d, want 3", r.Code)
	}
}
