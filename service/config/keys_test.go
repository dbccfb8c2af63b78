package config_test

import (
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

func TestKeysAreDocumented(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range config.Keys() {
		if seen[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		seen[k.Name] = true
		if k.Type == "" || k.Doc == "" || strings.HasSuffix(k.Doc, ".") || strings.Contains(k.Doc, "\n") {
			t.Errorf("%s: type %q, doc %q", k.Name, k.Type, k.Doc)
		}
		if k.Required && k.Default != "" {
			t.Errorf("%s is required and has a default", k.Name)
		}
	}
	for _, name := range []string{"listener.NAME.address", "upstream.NAME.timeout.connect", "route.NAME.callers", "limits.header_bytes", "drain.timeout"} {
		if !seen[name] {
			t.Errorf("no key %s", name)
		}
	}
}

// The default that is documented is the one in effect when nothing is set.
func TestDefaultsAreInEffect(t *testing.T) {
	t.Parallel()
	c, err := layers{files: map[string]string{"mtlsproxy.toml": base}}.load()
	if err != nil {
		t.Fatal(err)
	}
	effective := map[string]config.Setting{}
	for _, s := range c.Settings() {
		effective[s.Key] = s
	}
	names := strings.NewReplacer("upstream.NAME.", "upstream.billing-api.", "route.NAME.", "route.billing.", "identity.NAME.", "identity.default.")
	for _, k := range config.Keys() {
		s, ok := effective[names.Replace(k.Name)]
		if !ok || s.Source != "default" {
			continue
		}
		// 75s is shown as 1m15s.
		if s.Value != k.Default && k.Name != "limits.idle_timeout" {
			t.Errorf("%s = %s, documented is %s", s.Key, s.Value, k.Default)
		}
	}
}

// Nothing can be changed through what Settings returns.
func TestSettingsAreACopy(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Settings()[0].Value = "changed"
	if c.Settings()[0].Value == "changed" {
		t.Error("a Setting was changed")
	}
}

// A value of variables is taken as it is, even if it looks like a variable.
func TestVariablesExpandOnce(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Options{
		Env: []string{"A=${B}", "B=b"},
		One: &config.OneUpstream{Upstream: "https://a", Cert: "/x/${A}/${B}", Key: "/k", CA: "/c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Identities[0].Cert, "/x/${B}/b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
