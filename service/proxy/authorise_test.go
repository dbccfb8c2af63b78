package proxy

import (
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestUnknownCallerIsDenied(t *testing.T) {
	leak.Check(t)
	f := func(rule string, uid int64, who caller.Caller, want string) {
		t.Helper()
		allowed, err := caller.NewSet([]string{rule})
		if err != nil {
			t.Fatal(err)
		}
		within(t, usual, uid, who, func(e *exchange) {
			got := ""
			if f := e.authorise(&Route{Name: "r", Callers: allowed}); f != nil {
				got = string(f.class) + ": " + f.hint
			}
			if !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("%s, uid %d, %+v: got %q, want %q", rule, uid, who, got, want)
			}
		})
	}
	unknown := caller.Caller{UID: caller.None}
	const denied = "caller_denied: it cannot be told who asks"
	f("uid:0-4294967294", front.NoCaller, unknown, denied)
	f("gid:0-4294967294", front.NoCaller, unknown, denied)
	f("gid:0-4294967294", 7, unknown, denied) // a user whose groups cannot be looked up
	f("any", front.NoCaller, unknown, "")
	f("uid:7", 7, unknown, "") // the groups do not matter
	f("uid:7", front.NoCaller, caller.Caller{UID: 7}, "")
	f("uid:7", front.NoCaller, caller.Caller{UID: 8}, "caller_denied: no rule")
}
