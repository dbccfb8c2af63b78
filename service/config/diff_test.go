package config_test

import (
	"reflect"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	old, err := layers{files: map[string]string{"mtlsproxy.toml": base + "\n[metrics]\naddress = \"127.0.0.1:1\"\ncallers = \"any\"\n"}}.load()
	if err != nil {
		t.Fatal(err)
	}
	next, err := layers{files: map[string]string{"mtlsproxy.toml": base + "\n[drain]\ntimeout = \"1s\"\n\n[identity.second]\ncert = \"/c\"\nkey = \"/k\"\nca = \"/a\"\n"}}.load()
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Change{
		{Key: "metrics.address", Old: `["127.0.0.1:1"]`},
		{Key: "metrics.callers", Old: `["any"]`},
		{Key: "identity.second.cert", New: `"/c"`, Source: "/etc/mtlsproxy/mtlsproxy.toml:19"},
		{Key: "identity.second.key", New: `"/k"`, Source: "/etc/mtlsproxy/mtlsproxy.toml:20"},
		{Key: "identity.second.ca", New: `"/a"`, Source: "/etc/mtlsproxy/mtlsproxy.toml:21"},
		{Key: "drain.timeout", Old: `"25s"`, New: `"1s"`, Source: "/etc/mtlsproxy/mtlsproxy.toml:16"},
	}
	if got := config.Diff(old, next); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The digest is of what is in effect, not of how it is written.
func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(text string) string {
		c, err := layers{files: map[string]string{"mtlsproxy.toml": text}}.load()
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest()
	}
	if digest(base) != digest("# a comment\n"+base+"\n[drain]\ntimeout = \"25000ms\"\n") {
		t.Error("the same values have another digest")
	}
	if digest(base) == digest(base+"\n[drain]\ntimeout = \"24s\"\n") {
		t.Error("other values have the same digest")
	}
}
