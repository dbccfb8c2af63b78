package http1

import "testing"

func TestStatusLine(t *testing.T) {
	for _, c := range []struct {
		name, line string
		minor      int
		status     int // 0: refused
		reason     string
	}{
		{"as usual", "HTTP/1.1 200 OK", 1, 200, "OK"},
		{"HTTP/1.0", "HTTP/1.0 404 Not Found", 0, 404, "Not Found"},
		{"a later HTTP/1", "HTTP/1.3 200 OK", 1, 200, "OK"},
		{"empty reason", "HTTP/1.1 200 ", 1, 200, ""},
		{"no reason, and no space before it", "HTTP/1.1 200", 1, 200, ""},
		{"blanks and bytes above ASCII", "HTTP/1.1 200  a\tb \xe9 ", 1, 200, " a\tb \xe9 "},
		{"a colon in the reason", "HTTP/1.1 500 A: b", 1, 500, "A: b"},
		{"the lowest status", "HTTP/1.1 100 ", 1, 100, ""},
		{"the highest status", "HTTP/1.1 599 ", 1, 599, ""},

		{"status below 100", "HTTP/1.1 099 Low", 0, 0, ""},
		{"status 000", "HTTP/1.1 000 Zero", 0, 0, ""},
		{"status above 599", "HTTP/1.1 600 High", 0, 0, ""},
		{"two digits", "HTTP/1.1 20 OK", 0, 0, ""},
		{"four digits", "HTTP/1.1 2000 OK", 0, 0, ""},
		{"a sign", "HTTP/1.1 +20 OK", 0, 0, ""},
		{"a letter", "HTTP/1.1 2x0 OK", 0, 0, ""},
		{"no space after the status", "HTTP/1.1 200OK", 0, 0, ""},
		{"tab after the status", "HTTP/1.1 200\tOK", 0, 0, ""},
		{"two spaces before the status", "HTTP/1.1  200 OK", 0, 0, ""},
		{"tab before the status", "HTTP/1.1\t200 OK", 0, 0, ""},
		{"no status", "HTTP/1.1", 0, 0, ""},
		{"no status but a space", "HTTP/1.1 ", 0, 0, ""},
		{"nothing", "", 0, 0, ""},
		{"CR in the reason", "HTTP/1.1 200 O\rK", 0, 0, ""},
		{"NUL in the reason", "HTTP/1.1 200 O\x00K", 0, 0, ""},
		{"DEL in the reason", "HTTP/1.1 200 O\x7fK", 0, 0, ""},
		{"version in lower case", "http/1.1 200 OK", 0, 0, ""},
		{"HTTP/2", "HTTP/2.0 200 OK", 0, 0, ""},
		{"HTTP/0.9", "HTTP/0.9 200 OK", 0, 0, ""},
		{"version with two digits", "HTTP/1.10 200 OK", 0, 0, ""},
		{"another protocol", "ICY 200 OK", 0, 0, ""},
		{"a request", "GET / HTTP/1.1", 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := new(Response)
			err := r.Parse([]byte(c.line+"\r\nContent-Length: 0\r\n\r\n"), false, DefaultLimits())
			if c.status == 0 {
				if err == nil {
					t.Fatalf("%q is accepted", c.line)
				}
				return
			}
			if err != nil {
				t.Fatalf("%q is refused: %v", c.line, err)
			}
			if r.Minor != c.minor || r.Status != c.status || string(r.Reason) != c.reason {
				t.Errorf("%q is HTTP/1.%d %d %q", c.line, r.Minor, r.Status, r.Reason)
			}
		})
	}
}

func TestResponseRefused(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		want         *Error
	}{
		{"space before a colon", "Content-Length : 5\r\n", errFieldSpace},
		{"folded", "A: 1\r\n 2\r\n", errFieldFold},
		{"space before the first field", " A: 1\r\n", errFieldFold},
		{"CR in a value", "A: 1\rSet-Cookie: x\r\n", errFieldValue},
		{"NUL in a value", "A: \x00\r\n", errFieldValue},
		{"empty name", ": 1\r\n", errFieldName},
		{"no colon", "A\r\n", errFieldColon},
		{"malformed Connection", "Connection: a b\r\n", errConnection},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := response(t, "GET", "HTTP/1.1 200 OK\r\n"+c.fields+"\r\n"); err != c.want {
				t.Errorf("Parse gives %v, want %v", err, c.want)
			}
		})
	}
	r := new(Response)
	if err := r.Parse([]byte("HTTP/1.1 200 OK\nA: 1\r\n\r\n"), false, DefaultLimits()); err != errStatusLine {
		t.Errorf("a status line that ends in LF gives %v", err)
	}
}

func TestResponseClose(t *testing.T) {
	for _, c := range []struct {
		name, head string
		want       bool
	}{
		{"HTTP/1.1 persists", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
		{"HTTP/1.0 does not", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", true},
		{"HTTP/1.0 does if it says so", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", false},
		{"close", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", true},
		{"close wins over keep-alive", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, close\r\n\r\n", true},
		{"close on its own line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", true},
		{"closed is no close", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: closed\r\n\r\n", false},
		{"Keep-Alive is no Connection", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nKeep-Alive: 5\r\n\r\n", true},
		{"a body that ends with the connection", "HTTP/1.1 200 OK\r\n\r\n", true},
		{"the same after a promise to persist", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", true},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", false},
		{"204 with a length of 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false},
		{"204 that may send a body all the same", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", true},
		{"204 that may send chunks all the same", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"304 with the length of what it stands for", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := response(t, "GET", c.head)
			if err != nil {
				t.Fatal(err)
			}
			if r.Close != c.want {
				t.Errorf("Close is %v, want %v", r.Close, c.want)
			}
		})
	}
}

func TestUpgradeOfResponse(t *testing.T) {
	for _, c := range []struct{ name, head, want string }{
		{"switched", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "websocket"},
		{"spelling is kept", "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", "WebSocket"},
		{"to nothing", "HTTP/1.1 101 Switching\r\n\r\n", "-"},
		{"not in Connection", "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", "-"},
		{"to two protocols", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n", "-"},
		{"offered only", "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := response(t, "GET", c.head)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(r.Upgrade); got != c.want {
				t.Errorf("Upgrade is %q, want %q", got, c.want)
			}
		})
	}
}

// TestResponseReused holds that nothing of a response shows in the next.
func TestResponseReused(t *testing.T) {
	var r Response
	first := "HTTP/1.0 101 Switching\r\nConnection: upgrade, x\r\nUpgrade: websocket\r\nContent-Length: 7\r\n\r\n"
	if err := r.Parse([]byte(first), false, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	if err := r.Parse([]byte("HTTP/1.1 204\r\n\r\n"), false, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	if r.Close || r.Private || r.Upgrade != nil || r.Length != -1 || len(r.Reason)+len(r.Fields) != 0 {
		t.Errorf("left over from the last response: %+v", r)
	}
}
