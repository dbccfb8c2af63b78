package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWhatMayComeNext(t *testing.T) {
	d := newDaemon(t)
	f := func(want string, words ...string) {
		t.Helper()
		r := host{socket: d.socket}.execute(t, append([]string{"complete-words"}, words...)...)
		if got := strings.Join(strings.Fields(r.stdout), " "); r.code != 0 || got != want {
			t.Errorf("%q: %d, got %s, want %s", words, r.code, got, want)
		}
	}
	f("status", "sta")
	f("routes reload resume", "r")
	f("query tail export stats", "log", "")
	f("billing search", "drain", "")
	f("search", "resume", "s")
	f("reset", "breaker", "")
	f("billing", "breaker", "reset", "bi")
	f("billing search", "log", "--route", "")
	f("billing search", "log", "tail", "--upstream", "")
	f("client upstream self", "log", "export", "--fault", "")
	f("csv clf", "log", "export", "--format", "c")
	f("", "log", "export", "-o", "")
	f("default partner spare", "certs", "show", "")
	f("show stage probe commit abort default partner spare", "certs", "")
	f("default", "certs", "stage", "d")
	f("", "certs", "stage", "default", "") // a file, which the shell knows
	f("", "certs", "stage", "default", "--pkcs12", "")
	f("default partner spare billing search", "certs", "probe", "")
	f("spare", "certs", "commit", "s")
	f("partner", "certs", "abort", "p")
	f("debug info warn error", "level", "")
	f("bash zsh fish", "completion", "")
	f("--socket --sort", "connections", "--s")
	f("", "status", "status", "")
}

func TestCompletionOffersEveryCommand(t *testing.T) {
	words := strings.Fields(host{}.execute(t, "complete-words").stdout)
	for _, args := range verbs {
		if verb, _, _ := strings.Cut(args, " "); !slices.Contains(words, verb) {
			t.Errorf("%s is missing", verb)
		}
	}
	if slices.Contains(words, "complete-words") {
		t.Error("what is hidden is offered")
	}
}

func TestShellsTakeTheirScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			r := host{}.execute(t, "completion", shell)
			if r.code != 0 || !strings.Contains(r.stdout, "mtlsproxyctl complete-words") {
				t.Fatalf("%+v", r)
			}
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip("SKIP: ", err)
			}
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(r.stdout), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(path, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestBashCompletes runs the script in a shell, with this program in its path.
func TestBashCompletes(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("SKIP: ", err)
	}
	d := newDaemon(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mtlsproxyctl"), []byte("#!/bin/sh\nexec '"+self(t)+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := host{}.execute(t, "completion", "bash").stdout + `
COMP_WORDS=(mtlsproxyctl drain bi) COMP_CWORD=2
_mtlsproxyctl
printf '%s\n' "${COMPREPLY[@]}"
`
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), asControl + "=1", "MTLSPROXY_ADMIN_SOCKET=" + d.socket, "GOCOVERDIR=" + coverage(t), "GORACE=atexit_sleep_ms=0"}
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "billing\n" {
		t.Errorf("%v: %s", err, out)
	}
}
