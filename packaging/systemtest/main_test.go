package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestWrongUsageSaysWhatIsWrong(t *testing.T) {
	deb := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(deb, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "-deb FILE"},
		{[]string{"-deb", deb + ".not"}, "no such file"},
		{[]string{"-deb", deb, "-release", "debian11"}, "debian12"},
		{[]string{"-deb", deb, "-run", "("}, "parsing regexp"},
		{[]string{"-deb", deb, "more"}, `"more"`},
		{[]string{"load"}, "usage"},
		{[]string{"upstream"}, "usage"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(c.args, strings.NewReader(""), &stdout, &stderr)
		if code == 0 || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: got %d %q, want an error that says %q", c.args, code, stderr.String(), c.says)
		}
	}
}

func TestListNamesEveryScenarioOnce(t *testing.T) {
	var stdout bytes.Buffer
	if code := run([]string{"-list"}, nil, &stdout, io.Discard); code != 0 {
		t.Fatalf("got exit code %d", code)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(stdout.String()) {
		name, says, _ := strings.Cut(line, " ")
		if seen[name] || strings.TrimSpace(says) == "" {
			t.Errorf("%q is there twice or says nothing", line)
		}
		seen[name] = true
	}
	if len(seen) != len(scenarios) {
		t.Errorf("got %d names, want %d", len(seen), len(scenarios))
	}
}

func TestWhereItCannotRunItSkipsUnlessItIsRequired(t *testing.T) {
	why := errors.New("no reason")
	var stdout, stderr bytes.Buffer
	if code := (&options{}).skip(why, &stdout, &stderr); code != 0 || stdout.String() != "SKIP the system test: no reason\n" {
		t.Errorf("got %d %q", code, stdout.String())
	}
	if code := (&options{require: true}).skip(why, &stdout, &stderr); code != 1 || stderr.String() != "systemtest: no reason\n" {
		t.Errorf("got %d %q", code, stderr.String())
	}
}

func TestTheSummaryIsATableOfScenariosAndReleases(t *testing.T) {
	var w strings.Builder
	err := summary(&w, []outcome{
		{release: "debian12", name: "one", took: time.Second},
		{release: "debian12", name: "two", took: 2 * time.Second, wrong: []string{"all"}},
		{release: "debian13", name: "two", took: 3 * time.Second},
	})
	want := `
scenario                debian12      debian13    
one                     ok     1.0 s              
two                     FAIL   2.0 s  ok     3.0 s
`
	if w.String() != want {
		t.Errorf("got\n%s\nwant\n%s", w.String(), want)
	}
	if err == nil || err.Error() != "1 of 3 scenarios failed" {
		t.Errorf("got %v", err)
	}
}

func TestNoScenarioIsAnErrorNotASuccess(t *testing.T) {
	if err := summary(io.Discard, nil); err == nil {
		t.Error("got no error")
	}
}

func TestWhatCurlWritesIsTakenApart(t *testing.T) {
	for _, c := range []struct {
		out, body string
		status    int
	}{
		{"ok\n\n200", "ok\n", 200},
		{"\n000", "", 0},
		{"", "", 0},
	} {
		if status, body := split(c.out); status != c.status || body != c.body {
			t.Errorf("%q: got %d %q, want %d %q", c.out, status, body, c.status, c.body)
		}
	}
}
