package proxy

import (
	"bytes"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	f := func(path, want string) {
		t.Helper()
		got, err := canonical(nil, []byte(path), once)
		if (err != nil) != (want == "") || err == nil && string(got) != want {
			t.Errorf("canonical(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	e := func(path, want string) {
		t.Helper()
		got, err := canonical(nil, []byte(path), eager)
		if (err != nil) != (want == "") || err == nil && string(got) != want {
			t.Errorf("read eagerly, canonical(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	e("/admin;a=1/x;y", "/admin/x")
	e("/;/a", "/a")
	e("/;a=b/..;/a", "")
	e("/%2561dmin", "/admin")
	e("/%25252e%252e/a", "")
	e("/%25", "/%")
	e("/a%3bb/c", "/a/c")
	e("/100%25zz", "/100%zz")
	f("/admin;a=1/x", "/admin;a=1/x")
	f("/", "/")
	f("//", "/")
	f("/a", "/a")
	f("/a/", "/a/")
	f("/a//b", "/a/b")
	f("/./a/./b/.", "/a/b")
	f("/a/../b", "/b")
	f("/a/b/..", "/a")
	f("/a/b/../", "/a/")
	f("/a/..", "/")
	f("/...", "/...")
	f("/a/.b/..c", "/a/.b/..c")
	f("/%61%2Fb", "/a/b")
	f("/a/%2e%2E/b", "/b")
	f(`/a\b`, "/a/b")
	f("/a%5c..%5Cb", "/b")
	f("/%252e%252e/a", "/%2e%2e/a")
	f("*", "/*")
	f("/..", "")
	f("/a/../..", "")
	f("/a/../../b", "")
	f("/%2e%2e", "")
	f("/./..", "")
}

// FuzzCanonical checks what routing relies on: a path that is plain is its own canonical form but for a final slash, and
// no canonical form has anything left to resolve.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/x", "/a%2f..%2fb", `/a\..\b`, "//a///b/", "/.a/..b/...", "/a/."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "%") && !wholeEscapes(path) {
			t.Skip("not a path that the parser lets through")
		}
		got, err := canonical(nil, []byte(path), once)
		if err != nil {
			return
		}
		if plain([]byte(path)) && !strings.Contains(path, `\`) && string(got) != path {
			t.Errorf("canonical(%q) = %q, and it is plain", path, got)
		}
		if !bytes.HasPrefix(got, []byte("/")) || bytes.Contains(got, []byte("//")) || bytes.Contains(got, []byte(`\`)) {
			t.Errorf("canonical(%q) = %q", path, got)
		}
		for segment := range strings.SplitSeq(string(got), "/") {
			if segment == "." || segment == ".." {
				t.Errorf("canonical(%q) = %q", path, got)
			}
		}
	})
}

// wholeEscapes is what the parser of requests guarantees.
func wholeEscapes(path string) bool {
	const hex = "0123456789abcdefABCDEF"
	for i := range len(path) {
		if path[i] == '%' && (i+2 >= len(path) || strings.IndexByte(hex, path[i+1]) < 0 || strings.IndexByte(hex, path[i+2]) < 0) {
			return false
		}
	}
	return true
}
