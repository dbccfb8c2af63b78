package http1

import (
	"strings"
	"testing"
)

// TestHopByHop names every field that a request does not carry on, and some that
// it does.
func TestHopByHop(t *testing.T) {
	for _, c := range []struct {
		name            string
		request, answer bool // dropped
	}{
		{"Connection", true, true},
		{"Content-Length", true, true},
		{"Expect", true, false},
		{"Forwarded", true, false},
		{"Host", true, false},
		{"Keep-Alive", true, true},
		{"Max-Forwards", false, false},
		{"Mtlsproxy-Error", true, true},
		{"Proxy", true, false},
		{"Proxy-Authenticate", false, false},
		{"Proxy-Authorization", true, false},
		{"Proxy-Connection", true, true},
		{"TE", true, true},
		{"Trailer", false, false},
		{"Transfer-Encoding", true, true},
		{"Upgrade", true, true},
		{"Via", false, false},
		{"X-Forwarded-For", true, false},
		{"X-Forwarded-Whatever", true, false},
		{"X-Forwarded-X", true, false},
		{"X-Real-IP", true, false},
		{"X-Request-ID", false, false},

		{"Accept", false, false},
		{"Authorization", false, false},
		{"Cookie", false, false},
		{"Forwarded-Not", false, false},
		{"Hosts", false, false},
		{"Tea", false, false},
		{"X-Forwarded", false, false},
		{"X-Forwarded-", false, false},
		{"X", false, false},
	} {
		for _, name := range []string{c.name, strings.ToLower(c.name), strings.ToUpper(c.name)} {
			line := name + ": 1\r\n"
			switch strings.ToLower(name) {
			case "expect":
				line = name + ": 100-continue\r\n"
			case "transfer-encoding":
				line = name + ": chunked\r\n"
			}
			head := "GET / HTTP/1.1\r\n" + line
			if c.name != "Host" {
				head += "Host: a\r\n"
			}
			r := accepted(t, head+"\r\n")
			if got := r.Fields[0].Drop; got != c.request {
				t.Errorf("%s of a request is dropped: %v, want %v", name, got, c.request)
			}
			answer, err := response(t, "GET", "HTTP/1.1 200 OK\r\n"+line+"\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if got := answer.Fields[0].Drop; got != c.answer {
				t.Errorf("%s of a response is dropped: %v, want %v", name, got, c.answer)
			}
		}
	}
}

func TestConnectionNamesFields(t *testing.T) {
	for _, c := range []struct {
		name, fields, want string // what is kept
		private            bool
	}{
		{"one", "Connection: x-a\r\nX-A: 1\r\nX-B: 2\r\n", "X-B: 2\r\n", true},
		{"all lines of it", "X-A: 1\r\nConnection: X-A\r\nx-a: 2\r\n", "", true},
		{"two", "X-A: 1\r\nX-B: 2\r\nConnection: x-b,x-a\r\n", "", true},
		{"on two lines", "Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\nConnection: X-B\r\n", "", true},
		{"after an empty line", "Connection:\r\nConnection: X-A\r\nX-A: 1\r\n", "", true},
		{"among empty elements", "Connection: ,, X-A\t,\r\nX-A: 1\r\n", "", true},
		{"beside options", "Connection: close, X-A, keep-alive\r\nX-A: 1\r\n", "", true},
		{"none that is there", "Connection: X-A\r\nX-B: 1\r\n", "X-B: 1\r\n", true},
		{"no prefix", "Connection: X-\r\nX-A: 1\r\n", "X-A: 1\r\n", true},
		{"no alias", "Connection: X_A\r\nX-A: 1\r\n", "X-A: 1\r\n", true},
		{"fields that are otherwise passed on", "Connection: via, trailer, x-request-id\r\nVia: 1.1 a\r\nTrailer: b\r\nX-Request-ID: c\r\n", "", false},
		{"fields that go anyway", "Connection: TE, Keep-Alive\r\nTE: trailers\r\nKeep-Alive: 5\r\nX-A: 1\r\n", "X-A: 1\r\n", false},
		{"options only", "Connection: close, keep-alive, upgrade\r\nClose: 1\r\n", "Close: 1\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := accepted(t, "GET / HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n")
			if got := kept(r.Fields); got != c.want || r.Private != c.private {
				t.Errorf("of a request %q is kept, private: %v; want %q, %v", got, r.Private, c.want, c.private)
			}
			answer, err := response(t, "GET", "HTTP/1.1 200 OK\r\n"+c.fields+"\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if got := kept(answer.Fields); got != c.want || answer.Private != c.private {
				t.Errorf("of a response %q is kept, private: %v; want %q, %v", got, answer.Private, c.want, c.private)
			}
		})
	}
}

// TestConnectionCannotChangeTheMessage holds that naming what frames or routes a
// request only keeps it from being passed on, which it is not anyway.
func TestConnectionCannotChangeTheMessage(t *testing.T) {
	r := accepted(t, "POST / HTTP/1.1\r\nConnection: Host, Content-Length, Connection\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
	if string(r.Authority) != "a" || r.Framing != ByLength || r.Length != 5 || kept(r.Fields) != "" {
		t.Errorf("authority %q, framing %d, length %d, kept %q", r.Authority, r.Framing, r.Length, kept(r.Fields))
	}
}

// TestAliases holds that names which some upstreams fold into known ones are
// neither believed nor passed on.
func TestAliases(t *testing.T) {
	for _, line := range []string{
		"X_Forwarded_For: 6.6.6.6", "X-Forwarded_For: 6.6.6.6", "x_forwarded-host: evil", "X_FORWARDED_PROTO: https",
		"X.Forwarded.For: 6.6.6.6", "X!Forwarded~For: 6.6.6.6", "X_Real_IP: 6.6.6.6", "x_request_id: 1",
		"Content_Length: 5", "Transfer_Encoding: chunked", "transfer.encoding: x", "Keep_Alive: 5", "Max_Forwards: 0",
		"Mtlsproxy_Error: x", "Proxy_Authorization: x", "Proxy_Authenticate: x", "Proxy_Connection: close",
	} {
		r := accepted(t, "OPTIONS / HTTP/1.1\r\nHost: a\r\n"+line+"\r\n\r\n")
		if f := r.Fields[1]; !f.Alias || !f.Drop || f.ID == Other {
			t.Errorf("%q is passed on: %+v", line, f)
		}
		if r.HasBody() || r.Close || r.MaxForwards >= 0 {
			t.Errorf("%q is believed", line)
		}
	}
	for _, line := range []string{"X-Forwarded-For: 1", "Content-Length: 0", "Connection: close"} {
		if f := accepted(t, "GET / HTTP/1.1\r\nHost: a\r\n"+line+"\r\n\r\n").Fields[1]; f.Alias {
			t.Errorf("%q is taken for an alias", line)
		}
	}
	for _, line := range []string{"X_A: 1", "User_Agent: 1", "Ho_st: 1", "_Host: 1", "Content__Length: 1", "ContentLength: 5"} {
		if f := accepted(t, "GET / HTTP/1.1\r\nHost: a\r\n"+line+"\r\n\r\n").Fields[1]; f.Alias || f.Drop {
			t.Errorf("%q is dropped", line)
		}
	}
}

func TestAliasesOfResponse(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nMtlsproxy_Error: x\r\nX_Request_ID: 1\r\n\r\n"
	r, err := response(t, "GET", head)
	if err != nil {
		t.Fatal(err)
	}
	if r.Framing != ByClose || r.Length != -1 || kept(r.Fields) != "X_Request_ID: 1\r\n" {
		t.Errorf("framing %d, length %d, kept %q", r.Framing, r.Length, kept(r.Fields))
	}
}

// TestIdentify asks for every name of every length, since it looks at single bytes.
func TestIdentify(t *testing.T) {
	for n := range 40 {
		for _, c := range "cfhkmptuvxCFHKMPTUVX_-!" {
			if id := identify([]byte(strings.Repeat(string(c), n))); id != Other {
				t.Errorf("%d times %q is known as %d", n, c, id)
			}
		}
	}
}

func TestNextElement(t *testing.T) {
	for list, want := range map[string]string{
		"": "", ",": "", " , ,\t": "", "a": "a|", "a,b": "a|b|", " a\t,, b c ,": "a|b c|", ",a": "a|",
	} {
		var got strings.Builder
		for rest := []byte(list); ; {
			var elem []byte
			if elem, rest = nextElement(rest); elem == nil {
				break
			}
			got.Write(elem)
			got.WriteByte('|')
		}
		if got.String() != want {
			t.Errorf("%q has the elements %q, want %q", list, got.String(), want)
		}
	}
}

func TestEqualFold(t *testing.T) {
	for s, want := range map[string]bool{
		"close": true, "CLOSE": true, "cLoSe": true, "clos": false, "closed": false, "clo5e": false, "": false,
		"#lose": false, "clo\u017fe": false,
	} {
		if got := EqualFold([]byte(s), "close"); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
