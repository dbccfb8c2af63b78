package main

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"
)

func TestCleanVersion(t *testing.T) {
	f := func(output, want string) {
		t.Helper()
		if got := cleanVersion(output); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("nginx version: nginx/1.22.1\n", "nginx/1.22.1")
	f("HAProxy version 2.6.12 2026/10/17 - https://haproxy.org/\nStatus: long\n", "HAProxy version 2.6.12 2026/10/17")
	f("", "")
}

func TestTemplatesRender(t *testing.T) {
	dir := t.TempDir()
	s := site{Dir: dir, Upstream: "127.0.0.1:2", Conns: 100, Files: 200, Root: true, SmallBody: "small"}
	for name, data := range map[string]any{
		"upstream.conf": s,
		"nginx.conf":    proxyConf{s, "nginx", "127.0.0.1:1", 2},
		"haproxy.cfg":   proxyConf{s, "haproxy", "127.0.0.1:1", 2},
	} {
		file, err := render(dir, name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "127.0.0.1:2") {
			t.Errorf("%s: %v, %s", name, err, text)
		}
	}
}

func TestPKIFilesLoad(t *testing.T) {
	files, err := makePKI(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{
		{files.ServerCert, files.ServerKey},
		{files.ClientCert, files.ClientKey},
		{files.ClientPair, files.ClientPair},
	} {
		if _, err := tls.LoadX509KeyPair(pair[0], pair[1]); err != nil {
			t.Errorf("%v: %v", pair, err)
		}
	}
}
