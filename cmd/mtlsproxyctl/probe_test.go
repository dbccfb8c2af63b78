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
	doubt := api.ProbedEndpoint{Endpoint: "c:1", Class: api.ProbeDoubtful, Error: "it accepts other CAs", Asked: true, Accepts: []string{"CN=Other"}}
	f(exitFailed, "\ndoubtful: 1 of 2 endpoints\n", api.Probed{Endpoints: []api.ProbedEndpoint{good, doubt}})
	f(exitFailed, "\nfailed: 1 of 3 endpoints\n", api.Probed{Endpoints: []api.ProbedEndpoint{good, bad, doubt}})
	f(exitOK, "\nthere is no endpoint to try it with\n", api.Probed{OK: true})
}

func TestAProbeOfWhatIsNotThere(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/certs/probe", refuse(http.StatusNotFound, api.NotFound, `there is no identity or upstream "x"`, "there are: default, billing"))
	host{socket: d.socket}.execute(t, "certs", "probe", "x").want(t, result{code: exitFailed,
		stderr: "mtlsproxyctl: there is no identity or upstream \"x\"\nhint: there are: default, billing\n"})
}

func TestAProbeSaysWhyAnEndpointIsDoubtful(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/certs/probe", asJSON(http.StatusOK, api.Probed{Identity: "default", Serial: "1f", Endpoints: []api.ProbedEndpoint{{
		Upstream: "u", Endpoint: "c:1", Class: api.ProbeDoubtful, Error: "it may refuse every request", Asked: true, Accepts: []string{"CN=Other"}, TLSVersion: "1.3",
	}}}))
	r := host{socket: d.socket}.execute(t, "certs", "probe", "default")
	for _, line := range []string{
		"doubtful  u/c:1", "  doubt     it may refuse every request",
		"  client    it asked for a certificate; ours is of none of the CAs that it accepts", "  accepts   CN=Other",
	} {
		if !strings.Contains(r.stdout, "\n"+line+"\n") {
			t.Errorf("it does not say %q but\n%s", line, r.stdout)
		}
	}
}
