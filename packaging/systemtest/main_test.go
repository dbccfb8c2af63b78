package main

import (
	"bytes"
	"context"
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
		{[]string{"-deb", deb, "-tries", "0"}, "-tries 0"},
		{[]string{"-deb", deb, "-rpm", deb + ".not"}, "no such file"},
		{[]string{"-deb", deb, "-require"}, "-rpm FILE"},
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

func TestAScenarioThatFailsIsTriedAgainAndTheSummarySaysSo(t *testing.T) {
	var w strings.Builder
	plays := 0
	late := again(t.Context(), 3, &w, func() outcome {
		plays++
		o := outcome{release: "debian13", name: "late"}
		if plays < 2 {
			o.wrong = []string{"not yet"}
		}
		return o
	})
	never := again(t.Context(), 2, &w, func() outcome {
		return outcome{release: "debian13", name: "never", wrong: []string{"no"}}
	})
	if plays != 2 || len(late.wrong) > 0 || len(never.wrong) == 0 {
		t.Errorf("got %+v after %d plays, and %+v", late, plays, never)
	}
	for _, says := range []string{"FAIL at try 1 of 3 debian13 late", "ok at try 2 debian13 late", "FAIL at try 2 of 2 debian13 never"} {
		if !strings.Contains(w.String(), says) {
			t.Errorf("the outcomes do not say %q:\n%s", says, w.String())
		}
	}
	w.Reset()
	if err := summary(&w, []outcome{late}); err != nil || !strings.Contains(w.String(), "ok at try 2") || !strings.Contains(w.String(), "1 of them only when tried again") {
		t.Errorf("the summary does not say that it was tried again: %v\n%s", err, w.String())
	}
}

func TestAScenarioIsNotTriedAgainWhenTheTestIsToEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	plays := 0
	again(ctx, 3, io.Discard, func() outcome {
		plays++
		cancel()
		return outcome{wrong: []string{"it was interrupted"}}
	})
	if plays != 1 {
		t.Errorf("it was played %d times, want once", plays)
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
