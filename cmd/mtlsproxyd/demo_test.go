package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestDemoOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	leak.Check(t)
	r := execute(t, "/", "demo", "--once", "--listen", "127.0.0.1:0")
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "9 of 9 steps went as they should") {
		t.Errorf("%+v", r)
	}
}

func TestDemoOnceFailsWithTheUpstream(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	leak.Check(t)
	var out, errs strings.Builder
	c := demoCmd{Once: true, Listen: "127.0.0.1:0", upstream: http.NotFoundHandler()}
	err := c.Run(world{stdout: &out, stderr: &errs})
	report(&errs, err)
	if code := exitCode(err); code != 1 || errs.String() != "" || !strings.Contains(out.String(), "  failed: ") {
		t.Errorf("exit code %d, want 1; %v\n%s%s", code, err, out.String(), errs.String())
	}
}
