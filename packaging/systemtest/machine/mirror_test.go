package machine

import (
	"strings"
	"testing"
)

func TestMirrorIsTheFirstArchiveOfDebianItself(t *testing.T) {
	for _, c := range []struct {
		name, sources, want string
		stanzas             bool
	}{
		{"one line", "deb http://a.example/debian bookworm main\n", "http://a.example/debian", false},
		{"options are left out", "deb [arch=amd64 signed-by=/x] http://a.example/debian trixie main contrib\n", "http://a.example/debian", false},
		{"archives of others are passed over", "deb https://b.example/apt nodistro main\ndeb http://a.example/debian sid main\n", "http://a.example/debian", false},
		{"sources are not packages", "deb-src http://a.example/debian bookworm main\n", "", false},
		{"security updates are not the archive", "deb http://a.example/security bookworm-security main\n", "", false},
		{"comments are not read", "# deb http://a.example/debian bookworm main\n", "", false},
		{"stanza", "Types: deb deb-src\n# a comment: here\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n", "http://a.example/debian", true},
		{"second stanza", "Types: deb\nURIs: https://b.example\nSuites: nodistro\nComponents: main\n\nTypes: deb\nURIs: http://a.example/debian\nSuites: trixie\nComponents: main\n", "http://a.example/debian", true},
		{"stanzas do not mix", "Types: deb\nURIs: https://b.example\n\nSuites: trixie\nComponents: main\n", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mirrorIn(strings.NewReader(c.sources), c.stanzas); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
