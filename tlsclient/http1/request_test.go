package http1

import (
	"strings"
	"testing"
)

func TestRequestRefused(t *testing.T) {
	const host = "Host: a\r\n"
	for _, c := range []struct {
		name, head string
		want       *Error
	}{
		{"empty line", "\r\n", errRequestLine},
		{"method only", "GET\r\n" + host + "\r\n", errRequestLine},
		{"HTTP/0.9", "GET /\r\n" + host + "\r\n", errRequestLine},
		{"no method", " / HTTP/1.1\r\n" + host + "\r\n", errRequestLine},
		{"no target", "GET  HTTP/1.1\r\n" + host + "\r\n", errRequestLine},
		{"tabs for spaces", "GET\t/\tHTTP/1.1\r\n" + host + "\r\n", errRequestLine},
		{"two spaces before the target", "GET  / HTTP/1.1\r\n" + host + "\r\n", errTarget},
		{"two spaces before the version", "GET /  HTTP/1.1\r\n" + host + "\r\n", errTarget},
		{"space after the version", "GET / HTTP/1.1 \r\n" + host + "\r\n", errVersion},
		{"CR before the line's end", "GET / HTTP/1.1\r\r\n" + host + "\r\n", errVersion},
		{"CR inside the line", "GET /\rx HTTP/1.1\r\n" + host + "\r\n", errTarget},
		{"NUL inside the line", "GET /\x00 HTTP/1.1\r\n" + host + "\r\n", errTarget},

		{"method with a delimiter", "GE(T / HTTP/1.1\r\n" + host + "\r\n", errMethod},
		{"method with a NUL", "G\x00T / HTTP/1.1\r\n" + host + "\r\n", errMethod},
		{"method beyond ASCII", "G\xcbT / HTTP/1.1\r\n" + host + "\r\n", errMethod},
		{"method too long", strings.Repeat("A", 33) + " / HTTP/1.1\r\n" + host + "\r\n", errMethodLong},
		{"CONNECT", "CONNECT b:443 HTTP/1.1\r\n" + host + "\r\n", errConnect},
		{"CONNECT to a path", "CONNECT / HTTP/1.1\r\n" + host + "\r\n", errConnect},
		{"TRACE", "TRACE / HTTP/1.1\r\n" + host + "\r\n", errTrace},
		{"CONNECT in lower case", "connect / HTTP/1.1\r\n" + host + "\r\n", errMethodCase},
		{"TRACE in mixed case", "Trace / HTTP/1.1\r\n" + host + "\r\n", errMethodCase},
		{"HEAD in lower case", "head / HTTP/1.1\r\n" + host + "\r\n", errMethodCase},

		{"version in lower case", "GET / http/1.1\r\n" + host + "\r\n", errVersion},
		{"version of another protocol", "GET / ICAP/1.0\r\n" + host + "\r\n", errVersion},
		{"version with two digits", "GET / HTTP/1.10\r\n" + host + "\r\n", errVersion},
		{"version without a dot", "GET / HTTP/101\r\n" + host + "\r\n", errVersion},
		{"version with a letter", "GET / HTTP/1.x\r\n" + host + "\r\n", errVersion},
		{"HTTP/0.9 with a version", "GET / HTTP/0.9\r\n" + host + "\r\n", errMajor},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", errMajor},

		{"space before the first field", "GET / HTTP/1.1\r\n " + host + "\r\n", errFieldFold},
		{"folded with a space", "GET / HTTP/1.1\r\n" + host + "A: 1\r\n 2\r\n\r\n", errFieldFold},
		{"folded with a tab", "GET / HTTP/1.1\r\n" + host + "A: 1\r\n\t2\r\n\r\n", errFieldFold},
		{"folded to nothing", "GET / HTTP/1.1\r\n" + host + "A: 1\r\n \r\n\r\n", errFieldFold},
		{"space before the colon", "GET / HTTP/1.1\r\n" + host + "A : 1\r\n\r\n", errFieldSpace},
		{"tab before the colon", "GET / HTTP/1.1\r\n" + host + "A\t: 1\r\n\r\n", errFieldSpace},
		{"no colon", "GET / HTTP/1.1\r\n" + host + "A\r\n\r\n", errFieldColon},
		{"empty name", "GET / HTTP/1.1\r\n" + host + ": 1\r\n\r\n", errFieldName},
		{"name with a space", "GET / HTTP/1.1\r\n" + host + "A B: 1\r\n\r\n", errFieldName},
		{"name with a delimiter", "GET / HTTP/1.1\r\n" + host + "A(B): 1\r\n\r\n", errFieldName},
		{"name with a NUL", "GET / HTTP/1.1\r\n" + host + "A\x00: 1\r\n\r\n", errFieldName},
		{"name with a CR", "GET / HTTP/1.1\r\n" + host + "A\rB: 1\r\n\r\n", errFieldName},
		{"name beyond ASCII", "GET / HTTP/1.1\r\n" + host + "\xe9: 1\r\n\r\n", errFieldName},
		{"CR in a value", "GET / HTTP/1.1\r\n" + host + "A: 1\r2\r\n\r\n", errFieldValue},
		{"CR before a value's end", "GET / HTTP/1.1\r\n" + host + "A: 1\r\r\n\r\n", errFieldValue},
		{"NUL in a value", "GET / HTTP/1.1\r\n" + host + "A: 1\x002\r\n\r\n", errFieldValue},
		{"vertical tab around a value", "GET / HTTP/1.1\r\n" + host + "A: \v1\r\n\r\n", errFieldValue},
		{"escape in a value", "GET / HTTP/1.1\r\n" + host + "A: \x1b[2J\r\n\r\n", errFieldValue},
		{"DEL in a value", "GET / HTTP/1.1\r\n" + host + "A: \x7f\r\n\r\n", errFieldValue},

		{"no Host", "GET / HTTP/1.1\r\n\r\n", errHostMissing},
		{"no Host in HTTP/1.2", "GET / HTTP/1.2\r\n\r\n", errHostMissing},
		{"no Host beside an absolute target", "GET http://a/ HTTP/1.1\r\n\r\n", errHostMissing},
		{"Host under another name", "GET / HTTP/1.1\r\nHost_: a\r\n\r\n", errHostMissing},
		{"Host twice", "GET / HTTP/1.1\r\n" + host + host + "\r\n", errHostTwice},
		{"Host twice in another case", "GET / HTTP/1.1\r\n" + host + "hOsT: a\r\n\r\n", errHostTwice},
		{"Host twice in HTTP/1.0", "GET / HTTP/1.0\r\n" + host + "Host: b\r\n\r\n", errHostTwice},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", errHost},
		{"blank Host", "GET / HTTP/1.1\r\nHost: \t \r\n\r\n", errHost},
		{"empty Host in HTTP/1.0", "GET / HTTP/1.0\r\nHost:\r\n\r\n", errHost},
		{"bad Host beside an absolute target", "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", errHost},

		{"Connection that is no list of tokens", "GET / HTTP/1.1\r\n" + host + "Connection: close;x\r\n\r\n", errConnection},
		{"quoted Connection option", "GET / HTTP/1.1\r\n" + host + "Connection: \"close\"\r\n\r\n", errConnection},
		{"unknown expectation", "GET / HTTP/1.1\r\n" + host + "Expect: 200-ok\r\n\r\n", errExpect},
		{"empty expectation", "GET / HTTP/1.1\r\n" + host + "Expect:\r\n\r\n", errExpect},
		{"expectation among others", "PUT / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nExpect: y, 100-continue\r\n\r\n", errExpect},
		{"expectation twice", "PUT / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", errExpect},
		{"Max-Forwards that is no number", "OPTIONS * HTTP/1.1\r\n" + host + "Max-Forwards: -1\r\n\r\n", errMaxForwards},
		{"Max-Forwards twice", "OPTIONS * HTTP/1.1\r\n" + host + "Max-Forwards: 1\r\nMax-Forwards: 2\r\n\r\n", errMaxForwards},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := request(t, c.head); err != c.want {
				t.Errorf("Parse(%q) = %v, want %v", c.head, err, c.want)
			}
		})
	}
}

func TestRequestAccepted(t *testing.T) {
	type want struct {
		method, path, authority string
		minor                   int
		framing                 Framing
		length                  int64
		close, cont, webSocket  bool
		maxForwards             int
		fields                  string // as list returns them
	}
	for _, c := range []struct {
		name, head string
		want       want
	}{
		{"the least of HTTP/1.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "[Host: a]"}},
		{"the least of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n",
			want{method: "GET", path: "/", close: true, maxForwards: -1}},
		{"a later HTTP/1", "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "[Host: a]"}},
		{"HTTP/1.0 does not persist", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			want{method: "GET", path: "/", close: true, maxForwards: -1, fields: "[Connection: keep-alive]"}},
		{"order and spelling are kept", "GET / HTTP/1.1\r\nx-B: 1\r\nHOST:a\r\nX-a:\t 2 \t\r\nx-b: 3\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "x-B: 1 [HOST: a] X-a: 2 x-b: 3"}},
		{"empty values, inner blanks, bytes above ASCII", "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB: \r\nC: 1\t 2\r\nD: \xe9\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "[Host: a] A:  B:  C: 1\t 2 D: \xe9"}},
		{"colons in a value", "GET / HTTP/1.1\r\nHost: a\r\nA::b: c\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "[Host: a] A: :b: c"}},
		{"an unknown method", "M-SEARCH! / HTTP/1.1\r\nHost: a\r\n\r\n",
			want{method: "M-SEARCH!", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "[Host: a]"}},
		{"close wins over keep-alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: CLOSE, keep-alive\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, close: true, maxForwards: -1, fields: "[Host: a] [Connection: CLOSE, keep-alive]"}},
		{"close on a later line", "GET / HTTP/1.1\r\nHost: a\r\nConnection:\r\nConnection: , close\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, close: true, maxForwards: -1, fields: "[Host: a] [Connection: ] [Connection: , close]"}},
		{"an absolute target wins over Host", "GET http://b:80/x HTTP/1.1\r\nHost: a\r\n\r\n",
			want{method: "GET", path: "/x", authority: "b:80", minor: 1, maxForwards: -1, fields: "[Host: a]"}},
		{"a body that waits for 100", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n",
			want{method: "PUT", path: "/", authority: "a", minor: 1, framing: ByLength, length: 5, cont: true, maxForwards: -1,
				fields: "[Host: a] [Expect: 100-Continue] [Content-Length: 5]"}},
		{"nothing to wait with", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
			want{method: "PUT", path: "/", authority: "a", minor: 1, framing: ByLength, maxForwards: -1,
				fields: "[Host: a] [Expect: 100-continue] [Content-Length: 0]"}},
		{"HTTP/1.0 knows no expectations", "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\n",
			want{method: "PUT", path: "/", framing: ByLength, length: 5, close: true, maxForwards: -1,
				fields: "[Expect: 100-continue] [Expect: x] [Content-Length: 5]"}},
		{"Max-Forwards of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 010\r\n\r\n",
			want{method: "OPTIONS", path: "*", authority: "a", minor: 1, maxForwards: 10, fields: "[Host: a] Max-Forwards: 010"}},
		{"a large Max-Forwards", "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 999999999999999999\r\n\r\n",
			want{method: "OPTIONS", path: "/x", authority: "a", minor: 1, maxForwards: 1 << 20, fields: "[Host: a] Max-Forwards: 999999999999999999"}},
		{"Max-Forwards of others means nothing", "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n",
			want{method: "GET", path: "/", authority: "a", minor: 1, maxForwards: -1, fields: "[Host: a] Max-Forwards: x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := accepted(t, c.head)
			got := want{method: string(r.Method), path: string(r.Path), authority: string(r.Authority), minor: r.Minor,
				framing: r.Framing, length: r.Length, close: r.Close, cont: r.Continue, webSocket: r.WebSocket,
				maxForwards: r.MaxForwards, fields: list(r.Fields)}
			if got != c.want {
				t.Errorf("Parse(%q)\n got %+v\nwant %+v", c.head, got, c.want)
			}
		})
	}
}

func TestWebSocket(t *testing.T) {
	for _, c := range []struct {
		name, line, fields string
		want               bool
	}{
		{"asked for", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true},
		{"in any case", "GET / HTTP/1.1", "Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\n", true},
		{"with an empty body", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", true},
		{"not in Connection", "GET / HTTP/1.1", "Upgrade: websocket\r\n", false},
		{"in Connection only", "GET / HTTP/1.1", "Connection: Upgrade\r\n", false},
		{"another method", "POST / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false},
		{"HTTP/1.0", "GET / HTTP/1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false},
		{"with a body", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", false},
		{"with a chunked body", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", false},
		{"in a list", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n", false},
		{"another protocol", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false},
		{"an alias", "GET / HTTP/1.1", "Connection: Upgrade\r\nUp_grade: websocket\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := accepted(t, c.line+"\r\nHost: a\r\n"+c.fields+"\r\n")
			if r.WebSocket != c.want {
				t.Errorf("WebSocket is %v, want %v", r.WebSocket, c.want)
			}
		})
	}
}

// TestRefusedRequestShowsWhatItCan holds what an answer and a record may say of a
// request that is refused.
func TestRefusedRequestShowsWhatItCan(t *testing.T) {
	for head, want := range map[string][2]string{
		"HEAD /x HTTP/1.1\r\n\r\n":                        {"HEAD", "/x"},
		"GET /# HTTP/1.1\r\n\r\n":                         {"GET", "/#"},
		"CONNECT a:1 HTTP/1.1\r\n\r\n":                    {"CONNECT", "a:1"},
		"G(T / HTTP/1.1\r\n\r\n":                          {"", ""},
		"GET / HTTP/2.0\r\n\r\n":                          {"", ""},
		strings.Repeat("A", 40) + " / HTTP/1.1\r\n\r\n":   {"", ""},
		"GET /" + strings.Repeat("a", 70000) + "\r\n\r\n": {"", ""},
		"GET 1 HTTP/1.1\r\nA:\r\n\r\n":                    {"GET", "1"},
	} {
		r, err := request(t, head)
		if err == nil {
			t.Fatalf("%.80q is accepted", head)
		}
		if got := [2]string{string(r.Method), string(r.Target)}; got != want {
			t.Errorf("%.80q shows %q, want %q", head, got, want)
		}
	}
}

func TestIdempotent(t *testing.T) {
	for method, want := range map[string]bool{
		"GET": true, "HEAD": true, "OPTIONS": true, "PUT": true, "DELETE": true,
		"POST": false, "PATCH": false, "get": false, "LOCK": false,
	} {
		if got := accepted(t, method+" / HTTP/1.1\r\nHost: a\r\n\r\n").Idempotent(); got != want {
			t.Errorf("%s: %v, want %v", method, got, want)
		}
	}
}

// TestRequestReused holds that nothing of a request shows in the next.
func TestRequestReused(t *testing.T) {
	var r Request
	long := "PUT http://b/ HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"
	if err := r.Parse([]byte(long), DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	if err := r.Parse([]byte("GET /x HTTP/1.1\r\nHost: c\r\n\r\n"), DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	if r.Close || r.Continue || r.Private || r.HasBody() || r.Form != Origin || string(r.Authority) != "c" || len(r.Fields) != 1 {
		t.Errorf("left over from the last request: %+v", r)
	}
}
