package config_test

import (
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

func TestOneUpstreamNeedsNoFile(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Options{Dir: "/home/me", One: &config.OneUpstream{
		Listen:     []string{"127.0.0.1:8980", "run/http.sock"},
		Upstream:   "https://API.internal:8443/",
		Cert:       "c.pem",
		Key:        "k.pem",
		CA:         "system",
		ServerName: "billing.internal",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want, err := config.Load(config.Options{
		File:    "/home/me/mtlsproxy.toml",
		ReadDir: noDir,
		ReadFile: func(string) ([]byte, error) {
			return []byte(`
[listener.http]
address = ["127.0.0.1:8980", "unix:/home/me/run/http.sock"]

[identity.default]
cert = "/home/me/c.pem"
key = "/home/me/k.pem"
ca = "system"

[upstream.default]
endpoints = ["api.internal:8443"]
server_name = "billing.internal"

[[route]]
name = "default"
host = ["localhost", "127.0.0.1", "[::1]", "api.internal"]
callers = ["any"]
upstream = "default"`), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !equal(c, want) {
		t.Errorf("got\n%s\nwant\n%s", c.TOML(), want.TOML())
	}
}

func TestOneUpstreamEndpoint(t *testing.T) {
	t.Parallel()
	f := func(url, endpoint, host string) {
		t.Helper()
		c, err := config.Load(config.Options{One: &config.OneUpstream{Upstream: url, Cert: "c", Key: "k", CA: "a"}})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			return
		}
		hosts := c.Routes[0].Hosts
		if got := c.Upstreams[0].Endpoints[0].String(); got != endpoint {
			t.Errorf("%s: endpoint %s, want %s", url, got, endpoint)
		}
		if got := hosts[len(hosts)-1].String(); got != host {
			t.Errorf("%s: last host %s, want %s", url, got, host)
		}
	}
	f("https://api.internal", "api.internal:443", "api.internal")
	f("https://api.internal:8443", "api.internal:8443", "api.internal")
	f("https://192.0.2.1/", "192.0.2.1:443", "192.0.2.1")
	f("https://[2001:db8::1]", "[2001:db8::1]:443", "[2001:db8::1]")
	f("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", "[2001:db8::1]")
	f("https://localhost:8443", "localhost:8443", "[::1]") // a local name already
	f("https://local", "local:443", "local")
}

func TestOneUpstreamProblems(t *testing.T) {
	t.Parallel()
	f := func(one config.OneUpstream, want string) {
		t.Helper()
		_, err := config.Load(config.Options{One: &one})
		if err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
	full := config.OneUpstream{Upstream: "https://a", Cert: "c", Key: "k", CA: "a"}
	with := func(change func(*config.OneUpstream)) config.OneUpstream {
		one := full
		change(&one)
		return one
	}
	f(config.OneUpstream{Upstream: "https://a"},
		"--cert: is missing\n--key: is missing\n--ca: is missing")
	f(config.OneUpstream{Upstream: "https://a", Cert: "c"},
		"--key: is missing\n--ca: is missing")
	f(with(func(o *config.OneUpstream) { o.Upstream = "api.internal:8443" }),
		`--upstream: not an https URL (got "api.internal:8443", want "https://host[:port]")`)
	f(with(func(o *config.OneUpstream) { o.Upstream = "http://a" }),
		`--upstream: not an https URL (got "http://a", want "https://host[:port]")`)
	f(with(func(o *config.OneUpstream) { o.Upstream = "https://me@a" }),
		`--upstream: not an https URL (got "https://me@a", want "https://host[:port]")`)
	f(with(func(o *config.OneUpstream) { o.Upstream = "https://a/v1" }),
		`--upstream: has a path (got "https://a/v1", want "https://host[:port]"; a file can say replace_prefix)`)
	f(with(func(o *config.OneUpstream) { o.Upstream = "https://a?x" }),
		`--upstream: has a query or fragment (got "https://a?x", want "https://host[:port]")`)
	f(with(func(o *config.OneUpstream) { o.Upstream = "https://a:0" }),
		`--upstream: port is 0 (got "https://a:0", want 1 to 65535)`)
	f(with(func(o *config.OneUpstream) { o.Listen = []string{":8980"} }),
		`--listen: ":8980" can be reached from other hosts: it takes plain HTTP and lends the identity to whoever reaches it; `+
			`use 127.0.0.1, [::1] or a unix socket, or set allow_remote = true`)
	f(with(func(o *config.OneUpstream) { o.ServerName = "*.a" }),
		`--server-name: is a pattern (got "*.a", want the one name to verify)`)
	f(with(func(o *config.OneUpstream) { o.Key = "${NO_SUCH}" }),
		`--key: variable NO_SUCH is not set (got "${NO_SUCH}")`)
}

func TestFlagsChangeTheEntriesOfAFile(t *testing.T) {
	t.Parallel()
	c, err := layers{
		files: map[string]string{"mtlsproxy.toml": `
[identity.default]
cert = "c.pem"
key = "k.pem"
ca = "ca.pem"

[upstream.default]
endpoints = ["old:1"]
timeout.connect = "1s"

[[route]]
name = "default"
path = "/api"
callers = ["any"]
upstream = "default"`},
		opts: config.Options{One: &config.OneUpstream{Upstream: "https://new", Cert: "/new.pem"}},
	}.load()
	if err != nil {
		t.Fatal(err)
	}
	if id := c.Identities[0]; id.Cert != "/new.pem" || id.Key != "/etc/mtlsproxy/k.pem" {
		t.Errorf("identity %+v, want the new certificate and the old key", id)
	}
	if u := c.Upstreams[0]; u.Endpoints[0].Host != "new" || u.Timeout.Connect.Seconds() != 1 {
		t.Errorf("upstream %+v, want the new endpoint and the old timeout", u)
	}
	if r := c.Routes[0]; len(c.Routes) != 1 || r.Path != "/api" {
		t.Errorf("route %+v, want the old path", r)
	}
}
