package journal

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFilterSet(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        Filter
	}{
		{"from", "15m", Filter{From: start.Add(-15 * time.Minute)}},
		{"from", "0", Filter{From: time.Unix(0, 0)}},
		{"from", "1777899600", Filter{From: time.Unix(1777899600, 0)}},
		{"from", "2026-05-04T12:00:00Z", Filter{From: start.Add(-time.Hour)}},
		{"to", "-1h", Filter{To: start.Add(-time.Hour)}},
		{"id", "a,b", Filter{ID: "a,b"}},
		{"route", "a,b", Filter{Route: []string{"a", "b"}}},
		{"upstream", "a", Filter{Upstream: []string{"a"}}},
		{"endpoint", "a:1", Filter{Endpoint: []string{"a:1"}}},
		{"listener", "http", Filter{Listener: []string{"http"}}},
		{"method", "GET", Filter{Method: []string{"GET"}}},
		{"caller", "1000,unknown", Filter{Caller: []int64{1000, NoCaller}}},
		{"status", "404, 5xx,400-403,0", Filter{Status: []StatusRange{{404, 404}, {500, 599}, {400, 403}, {0, 0}}}},
		{"class", "any", Filter{Class: []string{AnyClass}}},
		{"fault", "client,self", Filter{Fault: []string{"client", "self"}}},
		{"min", "250ms", Filter{MinTotal: 250 * time.Millisecond}},
		{"max", "3s", Filter{MaxTotal: 3 * time.Second}},
		{"host", "*.Internal", Filter{Host: "*.internal"}},
		{"path", "/v1/*", Filter{Path: "/v1/*"}},
	} {
		var f Filter
		if err := f.Set(c.name, c.value, start); err != nil || !reflect.DeepEqual(f, c.want) {
			t.Errorf("%s=%s: %+v, %v", c.name, c.value, f, err)
		}
	}
}

func TestFilterSetRefuses(t *testing.T) {
	for _, c := range []struct{ name, value, says string }{
		{"colour", "red", "there are caller, class"},
		{"from", "yesterday", `filter from: "yesterday" is no time; want`},
		{"caller", "root", `filter caller: "root" is no uid`},
		{"caller", "-1", "no uid"},
		{"status", "6", ""},
		{"status", "2xx,oops", `"oops" is no status`},
		{"status", "500-400", "no status"},
		{"status", "xxx", "no status"},
		{"fault", "yours", "nobody's fault"},
		{"min", "5", "no duration"},
		{"max", "-1s", "no duration"},
		{"from", "253402300800", "is no time"},
		{"path", strings.Repeat("a", 257), "a pattern of 257 bytes is too long; at most 256"},
		{"host", strings.Repeat("?", 257), "filter host: a pattern of 257 bytes"},
	} {
		var f Filter
		err := f.Set(c.name, c.value, start)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s=%s: %v", c.name, c.value, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s=%s: %v, want %q", c.name, c.value, err, c.says)
		}
	}
}

func TestEveryFilterNameIsKnown(t *testing.T) {
	values := map[string]string{"from": "1h", "to": "1h", "caller": "1", "status": "200", "fault": "self", "min": "1s", "max": "1s"}
	for _, name := range FilterNames {
		var f Filter
		value := values[name]
		if value == "" {
			value = "x"
		}
		if err := f.Set(name, value, start); err != nil || reflect.DeepEqual(f, Filter{}) {
			t.Errorf("%s: %v, %+v", name, err, f)
		}
	}
}
