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

func TestSameField(t *testing.T) {
	t.Parallel()
	f := func(a, b string, want bool) {
		t.Helper()
		if sameField([]byte(a), b) != want || sameField([]byte(b), []byte(a)) != want {
			t.Errorf("%q and %q: want %v", a, b, want)
		}
	}
	f("X-Team", "x_TEAM", true)
	f("X-Team", "X-Tean", false)
	f("X-Team", "X-Teams", false)
	f("X.Team", "X-Team", false)
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
	set := make([]http1.Field, 1, 4)
	set[0] = http1.Field{Name: []byte("X-A"), Value: []byte("1")}
	got := applySets([]http1.Field{{Name: []byte("x_a")}, {Name: []byte("X-B")}}, set, []string{"x-b"})
	if len(got) != 3 || !got[0].Drop || !got[1].Drop || got[2].Drop || len(set) != 1 {
		t.Errorf("got %+v", got)
	}
}
