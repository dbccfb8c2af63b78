package admin

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestListsAreNeverNull(t *testing.T) {
	for _, v := range []any{
		[]api.Route(nil), []api.Route{{}}, api.Status{}, &api.Event{}, api.Health{}, []api.Upstream{{Endpoints: make([]api.Endpoint, 1)}},
		api.Status{Config: api.Config{LastReload: &api.Reload{}}, Upstreams: make([]api.Upstream, 1)},
	} {
		b, err := json.Marshal(complete(v))
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.ReplaceAll(string(b), `"caller":null`, ""); strings.Contains(s, "null") {
			t.Errorf("%T: %s", v, b)
		}
	}
}

func TestCompleteKeepsWhatIsThereAndLeavesTheOriginalAlone(t *testing.T) {
	u := uint32(5)
	in := []api.Upstream{{Name: "a", Pool: api.Pool{Closed: map[string]uint64{"idle": 3}}, Retried: map[string]uint64{"failed": 1}, Endpoints: []api.Endpoint{{Address: "x:1"}}}}
	conns := []api.Connection{{Caller: &u}}
	out := complete(in).([]api.Upstream)
	if in[0].Endpoints[0].IPs != nil || out[0].Endpoints[0].IPs == nil {
		t.Errorf("in %+v, out %+v", in, out)
	}
	out[0].Endpoints[0].IPs = nil
	if !reflect.DeepEqual(in, out) || !reflect.DeepEqual(complete(conns), any(conns)) {
		t.Errorf("in %+v, out %+v", in, out)
	}
}
