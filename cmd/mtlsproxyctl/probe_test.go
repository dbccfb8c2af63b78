package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestProbe(t *testing.T) {
	d := newDaemon(t)
	for name, h := range map[string]host{"certs-probe.txt": {}, "certs-probe-80.txt": {width: 80, env: map[string]string{"NO_COLOR": "1"}}, "certs-probe.json": {}} {
		args := []string{"certs", "probe", "default"}
		if strings.HasSuffix(name, "json") {
			args = append(args, "--json")
		}
		h.socket = d.socket
		r := h.execute(t, args...)
		r.want(t, result{code: exitFailed, stdout: r.stdout}) // some endpoints do
		golden(t, name, r.stdout)
	}
}

func TestAProbeExitsWithItsVerdict(t *testing.T) {
	d := newDaemon(t)
	f := func(code int, last string, p api.Probed, args ...string) {
		t.Helper()
		d.says("POST /v1/certs/probe", asJSON(http.StatusOK, p))
		r := host{socket: d.socket}.execute(t, append([]string{"certs", "probe", "default"}, args...)...)
		if r.code != code || r.stderr != "" || !strings.HasSuffix(r.stdout, last) {
			t.Errorf("%+v, want %d with %q at the end", r, code, last)
		}
	}
	good, bad := api.ProbedEndpoint{Endpoint: "a:1", OK: true}, api.ProbedEndpoint{Endpoint: "b:1"}
	f(exitOK, "\nok: 2 endpoints\n", api.Probed{OK: true, Endpoints: []api.ProbedEndpoint{good, good}})
	f(exitOK, "", api.Probed{OK: true, Endpoints: []api.ProbedEndpoint{good}}, "--quiet")
	f(exitFailed, "\nfailed: 1 of 2 endpoints\n", api.Probed{Endpoints: []api.ProbedEndpoint{good, bad}})
	f(exitFailed, "\n}\n", api.Probed{Endpoints: []api.ProbedEndpoint{bad}}, "--json")
	f(exitFailed, "", api.Probed{Endpoints: []api.ProbedEndpoint{bad}}, "--quiet")
	f(exitOK, "\nthere is no endpoint to try it with\n", api.Probed{OK: true})
}

func TestAProbeOfWhatIsNotThere(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/certs/probe", refuse(http.StatusNotFound, api.NotFound, `there is no identity or upstream "x"`, "there are: default, billing"))
	host{socket: d.socket}.execute(t, "certs", "probe", "x").want(t, result{code: exitFailed,
		stderr: "mtlsproxyctl: there is no identity or upstream \"x\"\nhint: there are: default, billing\n"})
}
