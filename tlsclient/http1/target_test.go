package http1

import "testing"

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		name, method, target  string
		form                  Form
		wantAuthority, wantTo string // with wantTo "" the target is refused
	}{
		{"path", "GET", "/a/b", Origin, "h", "/a/b"},
		{"path and query", "GET", "/a?b=c&d", Origin, "h", "/a?b=c&d"},
		{"empty query", "GET", "/?", Origin, "h", "/?"},
		{"question marks in the query", "GET", "/??/?", Origin, "h", "/??/?"},
		{"dots are left to routing", "GET", "/../a/./b", Origin, "h", "/../a/./b"},
		{"two slashes are a path", "GET", "//b/x", Origin, "h", "//b/x"},
		{"all that RFC 3986 allows", "GET", "/-._~!$&'()*+,;=:@/%aF?/?-._~!$&'()*+,;=:@%00", Origin, "h",
			"/-._~!$&'()*+,;=:@/%aF?/?-._~!$&'()*+,;=:@%00"},
		{"what browsers send unescaped", "GET", "/[0]|?{a}|^`\\[]", Origin, "h", "/[0]|?{a}|^`\\[]"},
		{"asterisk", "OPTIONS", "*", Asterisk, "h", "*"},

		{"absolute", "GET", "http://b/x?y", Absolute, "b", "/x?y"},
		{"absolute with a port", "GET", "http://b:8080/", Absolute, "b:8080", "/"},
		{"absolute in upper case", "GET", "HTTP://B/", Absolute, "B", "/"},
		{"absolute IPv6", "GET", "http://[::1]:80/", Absolute, "[::1]:80", "/"},
		{"absolute without a path", "GET", "http://b", Absolute, "b", "/"},
		{"absolute with a query only", "GET", "http://b?x", Absolute, "b", "/?x"},
		{"absolute with an empty query", "GET", "http://b?", Absolute, "b", "/?"},
		{"absolute with two slashes", "GET", "http://b//c", Absolute, "b", "//c"},
		{"absolute OPTIONS of the whole server", "OPTIONS", "http://b", Absolute, "b", "*"},
		{"absolute OPTIONS of its root", "OPTIONS", "http://b/", Absolute, "b", "/"},
		{"absolute OPTIONS with a query only", "OPTIONS", "http://b?x", Absolute, "b", "/?x"},

		{"no slash", "GET", "a", 0, "", ""},
		{"asterisk of another method", "GET", "*", 0, "", ""},
		{"asterisk and more", "OPTIONS", "*/", 0, "", ""},
		{"query only", "GET", "?x", 0, "", ""},
		{"authority form", "GET", "b:80", 0, "", ""},
		{"another scheme", "GET", "https://b/", 0, "", ""},
		{"a scheme alone", "GET", "http:", 0, "", ""},
		{"a scheme and slashes", "GET", "http://", 0, "", ""},
		{"one slash", "GET", "http:/b", 0, "", ""},
		{"absolute without a host", "GET", "http:///x", 0, "", ""},
		{"absolute with a port only", "GET", "http://:80/", 0, "", ""},
		{"absolute with user information", "GET", "http://u@b/", 0, "", ""},
		{"absolute with a password", "GET", "http://u:p@b/", 0, "", ""},
		{"absolute with an empty port", "GET", "http://b:/", 0, "", ""},
		{"absolute with a fragment", "GET", "http://b#x", 0, "", ""},
		{"absolute with a backslash", "GET", "http://b\\c/", 0, "", ""},
		{"absolute with an encoded host", "GET", "http://%62/", 0, "", ""},
		{"absolute with a zone", "GET", "http://[fe80::1%25eth0]/", 0, "", ""},
		{"absolute with asterisk", "OPTIONS", "http://b*", 0, "", ""},
		{"fragment", "GET", "/a#b", 0, "", ""},
		{"fragment in the query", "GET", "/?a#b", 0, "", ""},
		{"empty fragment", "GET", "/#", 0, "", ""},
		{"percent alone", "GET", "/%", 0, "", ""},
		{"percent with one digit", "GET", "/%2", 0, "", ""},
		{"percent before the query", "GET", "/%2?x", 0, "", ""},
		{"percent and no digits", "GET", "/%zz", 0, "", ""},
		{"percent and one digit", "GET", "/%2z", 0, "", ""},
		{"percent in the query", "GET", "/?%zz", 0, "", ""},
		{"short percent in the query", "GET", "/?100%", 0, "", ""},
		{"space in the query", "GET", "/?a b", 0, "", ""},
		{"backslash in the path", "GET", "/a\\b", 0, "", ""},
		{"brace in the path", "GET", "/{a}", 0, "", ""},
		{"quote", "GET", "/?\"", 0, "", ""},
		{"angle bracket", "GET", "/?<", 0, "", ""},
		{"tab", "GET", "/a\tb", 0, "", ""},
		{"DEL", "GET", "/\x7f", 0, "", ""},
		{"bytes above ASCII", "GET", "/\xc3\xa9", 0, "", ""},
		{"bytes above ASCII in the query", "GET", "/?\xc3\xa9", 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := request(t, c.method+" "+c.target+" HTTP/1.1\r\nHost: h\r\n\r\n")
			if c.wantTo == "" {
				if err != errTarget {
					t.Errorf("%q gives %v, want %v", c.target, err, errTarget)
				}
				return
			}
			if err != nil {
				t.Fatalf("%q is refused: %v", c.target, err)
			}
			if r.Form != c.form || string(r.Authority) != c.wantAuthority || string(r.Path) != c.wantTo || string(r.Target) != c.target {
				t.Errorf("%q is form %d, %q at %q; want form %d, %q at %q", c.target, r.Form, r.Path, r.Authority,
					c.form, c.wantTo, c.wantAuthority)
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "A.test": true, "a.test.": true, "my_service": true, "127.0.0.1": true, "~-._": true,
		"a:1": true, "a:80": true, "a:65535": true, "[::1]": true, "[::1]:80": true, "[::ffff:1.2.3.4]": true,
		"[2001:db8:0:0:0:0:0:1]": true,

		"": false, ":": false, ":80": false, "a:": false, "a:0": false, "a:080": false, "a:65536": false,
		"a:000000080": false, "a:99999999999999999999": false, "a:+80": false, "a:-1": false, "a:8x": false,
		"a:80:80": false, "a b": false, "a,b": false, "a/b": false, "u@a": false, "a?": false, "a#": false,
		"a\\b": false, "a%41": false, "\"a\"": false, "<a>": false, "a\xe9": false, "a!": false, "a$": false, "a;b": false,
		"[": false, "[]": false, "[]:80": false, "[::1": false, "::1": false, "[::1]x": false, "[::1]:": false,
		"[::1]80": false, "[::1]]": false, "[zz]": false, "[1.2.3.4]": false, "[::1%eth0]": false, "[::1%25eth0]": false,
		"[v1.a]": false, "[:::1]": false, "[::g]": false, "[ ::1]": false, "[1:2:3:4:5:6:7:8:9]": false, "a[::1]": false,
	} {
		if got := validAuthority([]byte(s)); got != want {
			t.Errorf("%q is valid: %v, want %v", s, got, want)
		}
	}
}

func TestSplitAuthority(t *testing.T) {
	for s, want := range map[string]struct {
		host, port string
		ok         bool
	}{
		"a": {"a", "-", true}, "a:1": {"a", "1", true}, "a:": {"a", "", true}, ":1": {"", "1", true}, "": {"", "-", true},
		"[::1]": {"[::1]", "-", true}, "[::1]:1": {"[::1]", "1", true}, "[::1]:": {"[::1]", "", true},
		"[::1": {"-", "-", false}, "[::1]x": {"[::1]", "", false}, "[": {"-", "-", false},
	} {
		host, port, ok := SplitAuthority([]byte(s))
		if ok != want.ok || ok && (text(host) != want.host || text(port) != want.port) {
			t.Errorf("%q splits into %q, %q, %v; want %+v", s, text(host), text(port), ok, want)
		}
	}
}

// text shows what is absent as "-".
func text(b []byte) string {
	if b == nil {
		return "-"
	}
	return string(b)
}
