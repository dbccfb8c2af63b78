package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// endpointLine is the line of an upstream's only endpoint.
func endpointLine(t *testing.T, u api.Upstream) string {
	t.Helper()
	d := newDaemon(t)
	d.says("GET /v1/upstreams", asJSON(http.StatusOK, []api.Upstream{u}))
	out := host{socket: d.socket}.execute(t, "upstreams").stdout
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

func TestEndpointsSayForHowLongTheyAreLeftAlone(t *testing.T) {
	f := func(left time.Duration, want string) {
		t.Helper()
		until := noon.Add(left)
		u := api.Upstream{Name: "u", Endpoints: []api.Endpoint{{Address: "a:1", State: api.EndpointShunned, Why: "refused", Until: &until}}}
		if got := endpointLine(t, u); !strings.HasSuffix(got, want) {
			t.Errorf("with %v left: %s, want %s", left, got, want)
		}
	}
	f(42*time.Second, "  refused; for another 42s")
	f(400*time.Millisecond, "  refused; for another moment")
	f(-time.Second, "  refused; for another moment")
}

func TestEndpointsBehindAProxyDoNotShowItsAddress(t *testing.T) {
	u := api.Upstream{Name: "u", Via: "proxy.internal:3128", Endpoints: []api.Endpoint{{Address: "a:1", State: api.EndpointUp}}}
	if got := endpointLine(t, u); !strings.Contains(got, "  via proxy.internal:3128  up") {
		t.Errorf("got %s", got)
	}
}

func TestEveryStateOfAnEndpointIsCounted(t *testing.T) {
	var list []api.Endpoint
	for _, state := range api.EndpointStates() {
		list = append(list, api.Endpoint{State: state})
	}
	const want = "1 up, 1 not tried yet, 1 recovering, 1 failing, 1 down, 1 half open, 1 shunned, 1 ill, 1 no address, 1 drained"
	if got := endpointsInShort(list).Text; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
