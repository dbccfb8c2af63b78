package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseHead(t *testing.T) {
	f := func(text string, want head) {
		t.Helper()
		got, err := parseHead([]byte(text))
		if err != nil || got != want {
			t.Errorf("parseHead(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	f("", head{})
	f("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", head{})
	f("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", head{status: 200, size: 38, body: 3})
	f("HTTP/1.1 502 Bad Gateway\r\nX: y\r\ncontent-length:0\r\n\r\n", head{status: 502, size: 52})

	bad := func(text string) {
		t.Helper()
		if _, err := parseHead([]byte(text)); err == nil {
			t.Errorf("parseHead(%q): no error", text)
		}
	}
	bad("\r\n\r\n")
	bad("HTTP/2 200\r\n\r\n")
	bad("HTTP/1.1 abc\r\n\r\n")
	bad("HTTP/1.1 200 OK\r\n\r\n")
	bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	bad("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")
	bad("HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n")
}

func TestReadResponse(t *testing.T) {
	body := strings.Repeat("x", 1000)
	whole := "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body
	for name, r := range map[string]io.Reader{
		"at once":  strings.NewReader(whole),
		"by bytes": iotest.OneByteReader(strings.NewReader(whole)),
	} {
		if n, err := readResponse(r, make([]byte, 64)); err != nil || n != 1000 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	bad := func(name, text string) {
		t.Helper()
		if _, err := readResponse(strings.NewReader(text), make([]byte, 64)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	bad("cut head", "HTTP/1.1 200")
	bad("cut body", whole[:500])
	bad("other status", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	bad("surplus", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx")
	bad("long head", "HTTP/1.1 200 OK\r\nX: "+body)
}

func TestWriteBody(t *testing.T) {
	var out bytes.Buffer
	if err := writeBody(&out, make([]byte, 7), 20); err != nil || out.Len() != 20 {
		t.Errorf("wrote %d, %v", out.Len(), err)
	}
}

func TestWarmUpFailureIsReported(t *testing.T) {
	var out bytes.Buffer
	spec := `{"Kind":"download","Addr":"127.0.0.1:1","Conns":1}` // nobody listens on tcpmux
	if err := generate(spec, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "connecting") {
		t.Errorf("got %q", out.String())
	}
}

func TestIdleSources(t *testing.T) {
	for i, want := range map[int]string{0: "127.0.0.2", 9999: "127.0.0.2", 10000: "127.0.0.3"} {
		if got := idleSource(i).String(); got != want {
			t.Errorf("idleSource(%d) = %s, want %s", i, got, want)
		}
	}
}
