package config_test

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

func noDir(name string) ([]fs.DirEntry, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// layers is what one test loads. Files are named without /etc/mtlsproxy/.
type layers struct {
	files map[string]string
	opts  config.Options
}

func (l layers) load() (*config.Config, error) {
	tree := fstest.MapFS{}
	for name, text := range l.files {
		tree[path.Join("etc/mtlsproxy", name)] = &fstest.MapFile{Data: []byte(text)}
	}
	o := l.opts
	if len(l.files) > 0 {
		o.File = "/etc/mtlsproxy/mtlsproxy.toml"
	}
	o.ReadFile = func(name string) ([]byte, error) { return tree.ReadFile(strings.TrimPrefix(name, "/")) }
	o.ReadDir = func(name string) ([]fs.DirEntry, error) { return tree.ReadDir(strings.TrimPrefix(name, "/")) }
	return config.Load(o)
}

const base = `[identity.default]
cert = "c.pem"
key = "k.pem"
ca = "ca.pem"

[upstream.billing-api]
endpoints = ["billing:8443"]
timeout = { connect = "1s", idle = "1s" }

[[route]]
name = "billing"
callers = ["any"]
upstream = "billing-api"
`

// Where a value comes from when several layers have it: the last one wins, and
// what it does not mention stays.
func TestLaterLayersWin(t *testing.T) {
	t.Parallel()
	const connect = "upstream.billing-api.timeout.connect"
	dropIns := map[string]string{
		"mtlsproxy.toml":          base,
		"mtlsproxy.d/20-b.toml":   `upstream.billing-api.timeout.connect = "3s"`,
		"mtlsproxy.d/10-a.toml":   `upstream.billing-api.timeout = { connect = "2s", handshake = "2s" }`,
		"mtlsproxy.d/.30-c.toml":  `broken`,
		"mtlsproxy.d/40-d.txt":    `broken`,
		"mtlsproxy.d/50/e.toml":   `broken`,
		"mtlsproxy.d/60.toml/f":   `broken`,
		"mtlsproxy.toml.d/a.toml": `broken`,
	}
	env := "MTLSPROXY__UPSTREAM__BILLING_API__TIMEOUT__CONNECT"
	set := []string{connect + "=5s"}
	tests := map[string]struct {
		in     layers
		key    string
		value  string
		source string
	}{
		"default":           {layers{files: dropIns}, "upstream.billing-api.timeout.total", `"0s"`, "default"},
		"main file":         {layers{files: dropIns}, "upstream.billing-api.timeout.idle", `"1s"`, "/etc/mtlsproxy/mtlsproxy.toml:8"},
		"first drop-in":     {layers{files: dropIns}, "upstream.billing-api.timeout.handshake", `"2s"`, "/etc/mtlsproxy/mtlsproxy.d/10-a.toml:1"},
		"last drop-in wins": {layers{files: dropIns}, connect, `"3s"`, "/etc/mtlsproxy/mtlsproxy.d/20-b.toml:1"},
		"variable over drop-ins": {layers{dropIns, config.Options{Env: []string{env + "=4s"}}},
			connect, `"4s"`, "environment " + env},
		"variable in lower case": {layers{dropIns, config.Options{Env: []string{strings.Replace(env, "BILLING_API", "billing_api", 1) + "=4s"}}},
			connect, `"4s"`, "environment " + strings.Replace(env, "BILLING_API", "billing_api", 1)},
		"--set over variable": {layers{dropIns, config.Options{Env: []string{env + "=4s"}, Set: set}},
			connect, `"5s"`, "--set " + connect},
		"last --set wins": {layers{dropIns, config.Options{Set: append(set, connect+" = '6s'")}},
			connect, `"6s"`, "--set " + connect},
		"table as a variable": {layers{dropIns, config.Options{Env: []string{`MTLSPROXY__UPSTREAM__BILLING_API__TIMEOUT={connect="7s"}`}}},
			connect, `"7s"`, "environment MTLSPROXY__UPSTREAM__BILLING_API__TIMEOUT"},
		"list as a variable": {layers{dropIns, config.Options{Env: []string{`MTLSPROXY__UPSTREAM__BILLING_API__ENDPOINTS=["a:1", "b:2"]`}}},
			"upstream.billing-api.endpoints", `["a:1", "b:2"]`, "environment MTLSPROXY__UPSTREAM__BILLING_API__ENDPOINTS"},
		"number that is a string": {layers{dropIns, config.Options{Set: []string{"upstream.billing-api.tls_min=1.3"}}},
			"upstream.billing-api.tls_min", `"1.3"`, "--set upstream.billing-api.tls_min"},
		"route by name": {layers{dropIns, config.Options{Set: []string{"route.billing.path=/v1"}}},
			"route.billing.path", `"/v1"`, "--set route.billing.path"},
		"new table from a variable": {layers{dropIns, config.Options{Env: []string{"MTLSPROXY__LISTENER__HTTP__ADDRESS=/run/x.sock"}}},
			"listener.http.address", `["unix:/run/x.sock"]`, "environment MTLSPROXY__LISTENER__HTTP__ADDRESS"},
		"route addressed by name keeps its own": {layers{dropIns, config.Options{Set: []string{"route.billing.path=/v1"}}},
			"route.billing.name", `"billing"`, "/etc/mtlsproxy/mtlsproxy.toml:11"},
		"header of a file changed by a variable": {layers{dropIns, config.Options{
			Env: []string{`MTLSPROXY__ROUTE__BILLING__REQUEST_HEADERS={set={X-Team="a"}}`, "MTLSPROXY__ROUTE__BILLING__REQUEST_HEADERS__SET__X_TEAM=b"}}},
			"route.billing.request_headers.set.X-Team", `"b"`, "environment MTLSPROXY__ROUTE__BILLING__REQUEST_HEADERS__SET__X_TEAM"},
		"new header from a variable": {layers{dropIns, config.Options{Env: []string{"MTLSPROXY__ROUTE__BILLING__REQUEST_HEADERS__SET__X_TEAM=a"}}},
			"route.billing.request_headers.set.x-team", `"a"`, "environment MTLSPROXY__ROUTE__BILLING__REQUEST_HEADERS__SET__X_TEAM"},
		"quoted key": {layers{dropIns, config.Options{Set: []string{`upstream.'a.b'.endpoints=a:1`}}},
			`upstream."a.b".endpoints`, `["a:1"]`, `--set upstream."a.b".endpoints`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := test.in.load()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.Settings() {
				if s.Key == test.key {
					if s.Value != test.value || s.Source != test.source {
						t.Errorf("%s = %s from %s, want %s from %s", s.Key, s.Value, s.Source, test.value, test.source)
					}
					return
				}
			}
			t.Errorf("no %s in\n%s", test.key, c.TOML())
		})
	}
}

func TestRoutesMergeByNameAndKeepTheirOrder(t *testing.T) {
	t.Parallel()
	c, err := layers{files: map[string]string{
		"mtlsproxy.toml": base,
		"mtlsproxy.d/a.toml": `
[[route]]
name = "second"
path = "/second"
callers = ["any"]
upstream = "billing-api"

[[route]]
name = "billing"
path = "/billing"
request_headers.set = { X-A = "1" }`,
		"mtlsproxy.d/b.toml": `
[[route]]
name = "billing"
method = "GET"
request_headers.set = { X-B = "2" }`,
	}}.load()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Routes) != 2 || c.Routes[0].Name != "billing" || c.Routes[1].Name != "second" {
		t.Fatalf("routes %+v, want billing and second", c.Routes)
	}
	r := c.Routes[0]
	if r.Path != "/billing" || len(r.Methods) != 1 || len(r.RequestHeaders.Set) != 2 || r.Upstream != "billing-api" {
		t.Errorf("%+v, want what all three files say", r)
	}
}

func TestRelativePathsStartWhereTheyAreWritten(t *testing.T) {
	t.Parallel()
	c, err := layers{
		files: map[string]string{
			"mtlsproxy.toml":     base,
			"mtlsproxy.d/a.toml": `identity.default.key = "../k.pem"`,
		},
		opts: config.Options{Dir: "/home/me", One: &config.OneUpstream{CA: "ca.pem"}, Set: []string{"identity.default.crl=crl.pem"}},
	}.load()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Identity{
		Name: "default",
		Cert: "/etc/mtlsproxy/c.pem",
		Key:  "/etc/mtlsproxy/mtlsproxy.d/../k.pem",
		CA:   "/home/me/ca.pem",
		CRL:  "/home/me/crl.pem",
	}
	if c.Identities[0] != want {
		t.Errorf("got %+v, want %+v", c.Identities[0], want)
	}
}

func TestProblemsInLayers(t *testing.T) {
	t.Parallel()
	files := map[string]string{"mtlsproxy.toml": base}
	env := func(pairs ...string) layers { return layers{files, config.Options{Env: pairs}} }
	set := func(pairs ...string) layers { return layers{files, config.Options{Set: pairs}} }
	with := func(name, text string) layers {
		return layers{files: map[string]string{"mtlsproxy.toml": base, "mtlsproxy.d/" + name: text}}
	}
	tests := map[string]struct {
		in   layers
		want string
	}{
		"value of a variable": {env("MTLSPROXY__DRAIN__TIMEOUT=25"),
			`environment MTLSPROXY__DRAIN__TIMEOUT: has no unit (got 25, want a number with a unit such as "250ms", "3s", "1m30s", "1h" or "2d")`},
		"unknown key of a variable": {env("MTLSPROXY__UPSTREAM__BILLING_API__CONECT=1"),
			`environment MTLSPROXY__UPSTREAM__BILLING_API__CONECT: [upstream.billing-api]: unknown key "conect"; did you mean "timeout.connect"?`},
		"unknown table of a variable": {env("MTLSPROXY__DRAINS__TIMEOUT=1s"),
			`environment MTLSPROXY__DRAINS__TIMEOUT: unknown table "drains"; did you mean "drain"?`},
		"variable without a key": {env("MTLSPROXY__DRAIN=1", "MTLSPROXY__=1", "MTLSPROXY__DRAIN__=1"),
			"environment MTLSPROXY__: not the name of a key, want MTLSPROXY__TABLE__KEY\n" +
				"environment MTLSPROXY__DRAIN: not the name of a key, want MTLSPROXY__TABLE__KEY\n" +
				"environment MTLSPROXY__DRAIN__: not the name of a key, want MTLSPROXY__TABLE__KEY"},
		"variable that is not UTF-8": {env("MTLSPROXY__DRAIN__TIMEOUT=\xff"),
			`environment MTLSPROXY__DRAIN__TIMEOUT: value is not UTF-8 (got "\xff")`},
		"variable that makes half a table": {env("MTLSPROXY__UPSTREAM__OTHER__TLS_MIN=1.3"),
			`environment MTLSPROXY__UPSTREAM__OTHER__TLS_MIN: [upstream.other] endpoints: is missing`},
		"variable that could mean two tables": {layers{map[string]string{"mtlsproxy.toml": base, "mtlsproxy.d/a.toml": `upstream.billing_api.endpoints = "a:1"`},
			config.Options{Env: []string{"MTLSPROXY__UPSTREAM__BILLING_API__TLS_MIN=1.3"}}},
			`environment MTLSPROXY__UPSTREAM__BILLING_API__TLS_MIN: could be any of billing-api, billing_api; use --set or a file`},
		"value of --set": {set("upstream.billing-api.tls_min=1.1"),
			`--set upstream.billing-api.tls_min: unknown TLS version (got 1.1, want "1.2" or "1.3")`},
		"--set without a value": {set("drain.timeout", "=x", "x=y", "drain..timeout=1s", "a b.c=1"),
			`--set: not a key and a value (got "drain.timeout", want table.key=value)` + "\n" +
				`--set: not a key and a value (got "=x", want table.key=value)` + "\n" +
				`--set: not a key and a value (got "x=y", want table.key=value)` + "\n" +
				`--set: not a key and a value (got "drain..timeout=1s", want table.key=value)` + "\n" +
				`--set: not a key and a value (got "a b.c=1", want table.key=value)`},
		"--set of a route's name": {set("route.billing.name=other"),
			`--set route.billing.name: cannot be changed by a later layer (got "other", want "billing")`},
		"--set of a name with an equals sign": {set(`upstream."a=b".endpoints=a:1`),
			`--set upstream."a=b".endpoints: [upstream."a=b"]: not a valid name (got "a=b", want up to 64 letters, digits, "-", "_" and ".", a letter or digit first)`},
		"--set of a name that marks nameless routes": {set(`route."\u0000x".upstream=billing-api`),
			`--set route."\u0000x".upstream: [[route]] name: is missing` + "\n" +
				`--set route."\u0000x".upstream: [[route]] callers: is missing: say who may use this route; ["any"] lends the upstream's identity to every local user, and must be written out`},
		"a reference that is nearly right": {set("upstream.'billing.internal'.endpoints=a:1", "route.billing.upstream=biling.internal"),
			`--set route.billing.upstream: unknown upstream "biling.internal"; did you mean "billing.internal"?`},
		"control characters in the name of a file": {with("a\x1b[m\n.toml", "x"),
			`/etc/mtlsproxy/mtlsproxy.d/a\x1b[m\n.toml:1: expected '=' after key`},
		"--set of two keys": {set("drain.timeout=\"1s\"\nlimits.header_fields=1"),
			`--set drain.timeout: not a duration (got "\"1s\"\nlimits.header_fields=1", want a number with a unit such as "250ms", "3s", "1m30s", "1h" or "2d")`},
		"--set of a list of routes": {set("route.x=1"),
			`--set route.x: wrong type (got 1, want a table such as [route.default])`},
		"a drop-in that is not TOML": {with("a.toml", "\n\nx"),
			`/etc/mtlsproxy/mtlsproxy.d/a.toml:3: expected '=' after key`},
		"a drop-in with a wrong value, and one that breaks a reference": {layers{files: map[string]string{
			"mtlsproxy.toml": base, "mtlsproxy.d/a.toml": "[drain]\ntimeout = 1", "mtlsproxy.d/b.toml": "[[route]]\nname = \"billing\"\nupstream = \"nowhere\""}},
			`/etc/mtlsproxy/mtlsproxy.d/a.toml:2: [drain] timeout: has no unit (got 1, want a number with a unit such as "250ms", "3s", "1m30s", "1h" or "2d")` + "\n" +
				`/etc/mtlsproxy/mtlsproxy.d/b.toml:3: [route.billing] upstream: unknown upstream "nowhere"; known: billing-api`},
		"routes of two files that tie": {with("a.toml", "[[route]]\nname = \"other\"\ncallers = \"any\"\nupstream = \"billing-api\""),
			`/etc/mtlsproxy/mtlsproxy.d/a.toml:1: [route.other]: matches the same requests as route "billing" (/etc/mtlsproxy/mtlsproxy.toml:10): host "localhost", path "/"; give them different hosts, paths, methods or listeners`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := test.in.load()
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestMissingFiles(t *testing.T) {
	t.Parallel()
	missing := config.Options{File: "/etc/mtlsproxy/mtlsproxy.toml", ReadDir: noDir, ReadFile: func(name string) ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}}
	_, err := config.Load(missing)
	if want := "/etc/mtlsproxy/mtlsproxy.toml: reading configuration: file does not exist"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is hidden")
	}
	missing.Optional = true
	if _, err := config.Load(missing); err != nil {
		t.Errorf("the default file must exist: %v", err)
	}
	missing.ReadFile = func(name string) ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if _, err := config.Load(missing); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v: a file that may be missing may not be unreadable", err)
	}
	missing.ReadDir = func(name string) ([]fs.DirEntry, error) { return nil, fs.ErrPermission }
	_, err = config.Load(missing)
	if want := "/etc/mtlsproxy/mtlsproxy.d: reading drop-ins: permission denied"; err == nil || !strings.Contains(err.Error(), "mtlsproxy.d: reading drop-ins: permission") {
		t.Errorf("got %v, want %s", err, want)
	}
}
