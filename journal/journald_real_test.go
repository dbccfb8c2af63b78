package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// journaldPrograms are where systemd has its journald, which is in no PATH.
var journaldPrograms = []string{"/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"}

// realVariable is set in the child that has its own /run.
const realVariable = "MTLSPROXY_JOURNAL_REAL"

func TestRealJournaldTakesEventsAndExplainsThem(t *testing.T) {
	if os.Getenv(realVariable) != "" {
		insideRealJournald(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP a journald of one's own needs root")
	}
	if realJournald() == "" {
		t.Skip("SKIP there is no systemd-journald here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), realVariable+"=1")
	// Its mounts are its own, and so are its processes, all of which end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("SKIP namespaces cannot be made here: %v", err)
	}
	if strings.Contains(string(out), "SKIP ") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func realJournald() string {
	for _, p := range journaldPrograms {
		if exists(p) {
			return p
		}
	}
	return ""
}

// insideRealJournald is the test, in a child whose /run is its own.
func insideRealJournald(t *testing.T) {
	t.Helper()
	isolate(t)
	daemon := exec.Command(realJournald())
	daemon.Stderr = os.Stderr
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		daemon.Process.Kill()
		daemon.Wait()
	}()
	var j *Journald
	eventually(t, "a socket of journald", func() bool {
		var err error
		j, err = OpenJournald(JournaldSocket)
		return err == nil
	})
	log := slog.New(j.Handler(nil))
	stack := strings.Repeat("goroutine 1 [running]:\n", 10_000)
	log.Error("reload failed; nothing has changed", EventAttr, ReloadFailed, "by", "signal", "error", "one\ntwo")
	log.Error("panicked", EventAttr, Bug, "panic", "oops", "stack", stack)
	for range 4000 { // more than journald's socket holds, less than the queue does
		log.Info("one of many")
	}
	j.Close()
	if j.Dropped() != 0 {
		t.Errorf("%d dropped", j.Dropped())
	}
	daemon.Process.Signal(syscall.SIGTERM) // it takes what waits, and ends
	daemon.Wait()

	var entry map[string]string
	if out := journalctl(t, "-o", "json", "MTLS_EVENT=reload_failed"); json.Unmarshal(out, &entry) != nil {
		t.Fatalf("journalctl -o json: %s", out)
	}
	for name, want := range map[string]string{
		"MESSAGE": "reload failed; nothing has changed: by=signal", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "mtlsproxy",
		"MESSAGE_ID": idReloadFailed, "MTLS_ERROR": "one\ntwo", "MTLS_BY": "signal", "_TRANSPORT": "journal",
	} {
		if entry[name] != want {
			t.Errorf("%s is %q, want %q", name, entry[name], want)
		}
	}
	if out := journalctl(t, "-o", "json", "--all", "--output-fields=MTLS_STACK", "MTLS_EVENT=bug"); !bytes.Contains(out, []byte(strings.ReplaceAll(stack, "\n", `\n`))) {
		t.Errorf("the stack is not whole: %d bytes", len(out))
	}
	if n := bytes.Count(journalctl(t, "-o", "cat", "-t", Identifier, "-p", "6..6"), []byte("one of many\n")); n != 4000 {
		t.Errorf("%d of 4000 entries arrived", n)
	}
	explained := string(journalctl(t, "-x", "-o", "short", "MTLS_EVENT=reload_failed"))
	for _, want := range []string{"mtlsproxy could not reload and goes on as before", "man:mtlsproxy.toml(5)", "asked for by signal has found", "two"} {
		if !strings.Contains(explained, want) {
			t.Errorf("journalctl -x does not say %q:\n%s", want, explained)
		}
	}
	if strings.Contains(explained, "@") {
		t.Errorf("journalctl -x leaves a field open:\n%s", explained)
	}
	listed := string(journalctl(t, "--list-catalog"))
	for _, m := range Messages() {
		if !strings.Contains(listed, m.ID+" mtlsproxy: ") {
			t.Errorf("the catalog does not list %s", m.Event)
		}
	}
}

// isolate gives the process directories of its own in place of the machine's journal.
func isolate(t *testing.T) {
	t.Helper()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("SKIP mounts cannot be made here: %v", err)
	}
	for _, dir := range []string{"/run", "/var/log", "/var/lib/systemd", "/usr/lib/systemd/catalog"} {
		if !exists(dir) {
			t.Skipf("SKIP there is no %s", dir)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			t.Skipf("SKIP %s cannot be mounted: %v", dir, err)
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil { // of the processes that it has here
		t.Skipf("SKIP /proc cannot be mounted: %v", err)
	}
	if err := os.MkdirAll("/run/systemd/journald.conf.d", 0o755); err != nil {
		t.Fatal(err)
	}
	config := "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitBurst=0\n"
	if err := os.WriteFile("/run/systemd/journald.conf.d/test.conf", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/var/lib/systemd/catalog", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("/usr/lib/systemd/catalog", filepath.Base(catalogFile)), Catalog(), 0o644); err != nil {
		t.Fatal(err)
	}
	journalctl(t, "--update-catalog")
}

func journalctl(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("journalctl", append([]string{"--no-pager", "--quiet"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("journalctl %q: %v: %s", args, err, stderr.String())
	}
	return out
}
