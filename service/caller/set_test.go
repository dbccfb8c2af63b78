package caller

import (
	"errors"
	"os/user"
	"strings"
	"testing"
)

func TestSetAllows(t *testing.T) {
	app := Caller{UID: 1000, GIDs: []uint32{1000, 27}}
	for _, c := range []struct {
		rules string
		who   Caller
		want  bool
	}{
		{"", app, false},
		{"", Caller{}, false},
		{"any", app, true},
		{"any", unknown, true},
		{"uid:1000", app, true},
		{"uid:1001", app, false},
		{"uid:1000-1999", app, true},
		{"uid:999-1000", app, true},
		{"uid:1001-1999", app, false},
		{"uid:0-4294967294", unknown, false},
		{"gid:27", app, true},
		{"gid:20-30", app, true},
		{"gid:28", app, false},
		{"uid:27", app, false},
		{"gid:0", Caller{UID: 0}, false},
		{"uid:1 gid:2 uid:1000", app, true},
		{"user:root", Caller{UID: 0}, true},
		{"user:root", app, false},
		{"group:root", Caller{UID: 5, GIDs: []uint32{5, 0}}, true},
		{"group:root", Caller{UID: 0}, false},
	} {
		s, err := NewSet(strings.Fields(c.rules))
		if err != nil {
			t.Fatalf("%s: %v", c.rules, err)
		}
		if got := s.Allows(c.who); got != c.want {
			t.Errorf("[%s] allows %+v: %v, want %v", c.rules, c.who, got, c.want)
		}
	}
}

func TestZeroSetAllowsNobody(t *testing.T) {
	var s Set
	if s.Allows(Caller{}) || s.Allows(unknown) {
		t.Error("the zero Set allows somebody")
	}
}

func TestNewSetTellsAllThatIsWrongAndKeepsTheRest(t *testing.T) {
	s, err := NewSet([]string{"user:no such user", "uid:1000", "group:no such group", "uid:x", "nonsense"})
	if err == nil {
		t.Fatal("no error")
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d errors, want 4:\n%v", n, err)
	}
	if !errors.Is(err, ErrNoSuchName) {
		t.Errorf("a name that does not exist is not marked: %v", err)
	}
	if !s.Allows(Caller{UID: 1000}) || s.Allows(Caller{UID: 1001}) {
		t.Error("the rule that is right does not work")
	}
}

func TestNewSetRefuses(t *testing.T) {
	for _, rule := range []string{
		"", "any:", "ANY", "user", "user:", "group:", "uid", "uid:", "uid:-1", "uid:1-", "uid:-", "uid:2-1", "uid:1-2-3",
		"uid:4294967295", "uid:1-4294967295", "uid:4294967296", "uid: 1", "uid:+1", "gid:wheel", "pid:1",
	} {
		s, err := NewSet([]string{rule})
		if err == nil || errors.Is(err, ErrNoSuchName) {
			t.Errorf("%q: got error %v, want one about the rule", rule, err)
		}
		if s.Allows(Caller{UID: 1, GIDs: []uint32{1}}) || s.Allows(Caller{}) {
			t.Errorf("%q allows somebody", rule)
		}
	}
}

func TestNamesAreThoseOfTheUserDatabase(t *testing.T) {
	me, err := user.Current()
	if err != nil || me.Username == "" {
		t.Skipf("SKIP this user has no name: %v", err)
	}
	s, err := NewSet([]string{"user:" + me.Username})
	if err != nil {
		t.Fatal(err)
	}
	near, _ := unixPair(t)
	if c, err := Of(near); err != nil || !s.Allows(c) {
		t.Errorf("user %s, who is %+v, is not allowed (%v)", me.Username, c, err)
	}
}
