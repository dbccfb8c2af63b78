package config

import "testing"

func TestAddressForListen(t *testing.T) {
	t.Parallel()
	f := func(a Address, network, target string, local bool) {
		t.Helper()
		if a.Network() != network || a.Target() != target || a.Local() != local {
			t.Errorf("%+v: got %s %s local %v, want %s %s local %v", a, a.Network(), a.Target(), a.Local(), network, target, local)
		}
	}
	f(Address{Unix: "/run/http.sock"}, "unix", "/run/http.sock", true)
	f(Address{Host: "127.0.0.1", Port: 8980}, "tcp", "127.0.0.1:8980", true)
	f(Address{Host: "::1", Port: 8980}, "tcp", "[::1]:8980", true)
	f(Address{Host: "localhost", Port: 80}, "tcp", "localhost:80", true)
	f(Address{Port: 8980}, "tcp", ":8980", false)
	f(Address{Host: "0.0.0.0", Port: 8980}, "tcp", "0.0.0.0:8980", false)
	f(Address{Host: "localhost.example", Port: 80}, "tcp", "localhost.example:80", false)
}

func TestUnitsReadWhatTheyWrite(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0s", "1ms", "999ms", "1s", "1s1ms", "1m30s", "1h", "1d", "106751d23h47m16s854ms"} {
		d, bad := parseDuration(s)
		if bad != nil || formatDuration(d) != s {
			t.Errorf("%s: got %s, %+v", s, formatDuration(d), bad)
		}
	}
	for _, s := range []string{"0B", "1B", "1023B", "1KiB", "1500B", "10kB", "1MB", "10MiB", "3GiB", "7GB"} {
		n, bad := parseSize(s)
		if bad != nil || formatSize(n) != s {
			t.Errorf("%s: got %s, %+v", s, formatSize(n), bad)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	f := func(a, b string, want int) {
		t.Helper()
		if got := distance(a, b); got != want {
			t.Errorf("%q and %q: got %d, want %d", a, b, got, want)
		}
	}
	f("", "", 0)
	f("", "abc", 3)
	f("connect", "connect", 0)
	f("conect", "connect", 1)
	f("connetc", "connect", 1)
	f("upstraem", "upstream", 1)
	f("kitten", "sitting", 3)
}
