package proxy

import (
	"fmt"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

func table(t testing.TB, routes ...*Route) *Table {
	t.Helper()
	table, err := NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTableRefusesWhatIsNoHost(t *testing.T) {
	t.Parallel()
	if _, err := NewTable([]*Route{{Name: "x", Hosts: []string{"[::1"}, Path: "/"}}); err == nil {
		t.Error("a broken host was taken")
	}
}

func TestEmptyTableFindsNothing(t *testing.T) {
	t.Parallel()
	if r := new(Table).find(&query{host: []byte("a"), path: []byte("/")}); r != nil {
		t.Errorf("found %v", r)
	}
}

func TestOrderOfRoutesDoesNotMatter(t *testing.T) {
	t.Parallel()
	routes := []*Route{
		{Name: "any", Hosts: []string{"*"}, Path: "/"},
		{Name: "long", Hosts: []string{"*"}, Path: "/a/b"},
		{Name: "wild", Hosts: []string{"*.test"}, Path: "/"},
		{Name: "wilder", Hosts: []string{"*.b.test"}, Path: "/"},
		{Name: "name", Hosts: []string{"A.Test"}, Path: "/"},
		{Name: "port", Hosts: []string{"a.test:81"}, Path: "/"},
		{Name: "get", Hosts: []string{"a.test"}, Path: "/", Methods: []string{"GET"}},
		{Name: "other", Hosts: []string{"a.test"}, Path: "/", Listeners: []string{"other"}},
	}
	for turn := range routes {
		found := table(t, append(routes[turn:len(routes):len(routes)], routes[:turn]...)...)
		f := func(listener, method, host, port, path, want string) {
			t.Helper()
			r := found.find(&query{listener: listener, method: []byte(method), host: []byte(host), port: []byte(port), path: []byte(path)})
			if r == nil || r.Name != want {
				t.Errorf("turn %d: %s %s %s:%s%s took %v, want %s", turn, listener, method, host, port, path, r, want)
			}
		}
		f("http", "GET", "a.test", "81", "/", "port")
		f("http", "GET", "a.test", "", "/", "get")
		f("http", "PUT", "a.test", "", "/", "name")
		f("other", "PUT", "a.test", "", "/", "other")
		f("other", "GET", "a.test", "", "/", "get")
		f("http", "GET", "x.test", "", "/a/b", "wild")
		f("http", "GET", "x.b.test", "", "/", "wilder")
		f("http", "GET", "test", "", "/a/b", "long")
		f("http", "GET", "test", "", "/a/bc", "any")
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	var routes []*Route
	for i := range 100 {
		routes = append(routes, &Route{Hosts: []string{fmt.Sprintf("host%d.test", i), fmt.Sprintf("*.host%d.test", i)}, Path: "/"})
	}
	found := table(t, routes...)
	q := query{listener: "http", method: []byte("GET"), host: []byte("x.host99.test"), path: []byte("/a/b")}
	if n := testing.AllocsPerRun(100, func() {
		if found.find(&q) == nil || !plain(q.path) {
			t.Fatal("nothing found")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Field names that a program may take for each other are the same to a route.
func TestSetReplacesLookAlikes(t *testing.T) {
	t.Parallel()
	for name, replaced := range map[string]bool{
		"x_TEAM": true, "X.Team": true, "x-team": true, "X-Tean": false, "X-Teams": false, "XTeam": false,
	} {
		fields := applySets([]http1.Field{{Name: []byte(name)}}, []Setting{Set("X-Team", "us")}, nil)
		if len(fields) != 2 || fields[0].Drop != replaced || string(fields[1].Value) != "us" {
			t.Errorf("%s: dropped %v, want %v", name, fields[0].Drop, replaced)
		}
		if fields := applySets([]http1.Field{{Name: []byte(name)}}, nil, []string{http1.Fold("X_Team")}); fields[0].Drop != replaced {
			t.Errorf("removing: %s dropped %v, want %v", name, fields[0].Drop, replaced)
		}
	}
}

func TestRewrittenPathStaysBehindItsPrefix(t *testing.T) {
	t.Parallel()
	r := &Route{Path: "/api", Replace: "/public"}
	for path, confined := range map[string]bool{
		"/api": true, "/api/x": true, "/api/./x/../y": true, "/api/x?/../../": true, "/api/.well-known/x": true,
		"/api/../api/secret": false, "/api/%2e%2e/api/secret": false, "/api/x/../../api/y": false, "/api/..;/api/x": false,
	} {
		if err := r.confine([]byte(path)); (err == nil) != confined {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := (&Route{Path: "/api"}).confine([]byte("/api/../api/x")); err != nil {
		t.Errorf("a path that is passed as it is: %v", err)
	}
}

func TestKeepOutgrowsItsStorage(t *testing.T) {
	t.Parallel()
	e := &exchange{mem: make([]byte, 0, 8)}
	var kept []string
	var slices [][]byte
	for i := range 6 {
		b := e.keep(append(e.scratch(), fmt.Sprintf("v%d-", i)...))
		slices, kept = append(slices, b), append(kept, string(b))
	}
	for i, b := range slices {
		if string(b) != kept[i] {
			t.Errorf("value %d became %q", i, b)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	f := func(r Route, path, want string) {
		t.Helper()
		if got := string(r.target(nil, []byte(path))); got != want {
			t.Errorf("%+v: target(%q) = %q, want %q", r, path, got, want)
		}
	}
	f(Route{Path: "/a"}, "/a/b", "/a/b")
	f(Route{Path: "/a", StripPrefix: true}, "/a", "/")
	f(Route{Path: "/a", StripPrefix: true}, "/a/", "/")
	f(Route{Path: "/a", StripPrefix: true}, "/a?b", "/?b")
	f(Route{Path: "/a", Replace: "/c"}, "/a?b", "/c?b")
	f(Route{Path: "/a", Replace: "/c"}, "/a", "/c")
	f(Route{Path: "/a", Replace: "/c"}, "/a/", "/c/")
	f(Route{Path: "/a", Replace: "/"}, "/a?b", "/?b")
	f(Route{Path: "/", StripPrefix: true}, "/a", "/a")
	f(Route{Path: "/", Replace: "/c"}, "*", "*")
}

// A field's storage must never be shared between two exchanges of a connection: applySets appends.
func TestSetsAreNotWrittenTo(t *testing.T) {
	t.Parallel()
	set := make([]Setting, 1, 4)
	set[0] = Set("X-A", "1")
	got := applySets([]http1.Field{{Name: []byte("x_a")}, {Name: []byte("X-B")}}, set, []string{"x-b"})
	if len(got) != 3 || !got[0].Drop || !got[1].Drop || got[2].Drop || len(set) != 1 {
		t.Errorf("got %+v", got)
	}
}
