package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// file makes a file and returns its path.
func file(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStage(t *testing.T) {
	d := newDaemon(t)
	cert, key, ca, bundle := file(t, "c", "certificate", 0o644), file(t, "k", "key", 0o600), file(t, "a", "anchors", 0o644), file(t, "p", "bundle", 0o640)
	f := func(want api.Stage, args ...string) {
		t.Helper()
		for _, mode := range []string{"text", "json"} {
			more := map[string][]string{"json": {"--json"}}[mode]
			r := host{socket: d.socket}.execute(t, append(append([]string{"certs", "stage", "default"}, args...), more...)...)
			r.want(t, result{stdout: r.stdout})
			golden(t, "certs-stage."+map[string]string{"text": "txt", "json": "json"}[mode], r.stdout)
			question, body, _ := strings.Cut(d.asked(), "{")
			var got api.Stage
			if err := json.Unmarshal([]byte("{"+body), &got); err != nil || question != "POST /v1/certs/stage " {
				t.Fatalf("asked %s%s: %v", question, body, err)
			}
			if got.Identity != "default" || string(got.Cert) != string(want.Cert) || string(got.Key) != string(want.Key) || string(got.CA) != string(want.CA) || string(got.PKCS12) != string(want.PKCS12) {
				t.Errorf("%q staged cert %q, key %q, CA %q, PKCS #12 %q", args, got.Cert, got.Key, got.CA, got.PKCS12)
			}
		}
	}
	f(api.Stage{Cert: []byte("certificate"), Key: []byte("key")}, cert, key)
	f(api.Stage{Cert: []byte("certificate"), Key: []byte("key"), CA: []byte("anchors")}, cert, key, ca)
	f(api.Stage{Cert: []byte("certificate"), Key: []byte("key"), CA: []byte("anchors")}, cert, key, "--ca", ca)
	f(api.Stage{PKCS12: []byte("bundle")}, "--pkcs12", bundle)
	f(api.Stage{PKCS12: []byte("bundle"), CA: []byte("anchors")}, "--pkcs12", bundle, "--ca", ca)
}

func TestAKeyThatOthersMayReadIsWarnedOf(t *testing.T) {
	d := newDaemon(t)
	cert := file(t, "c", "certificate", 0o644)
	f := func(mode os.FileMode, warned string, args ...string) {
		t.Helper()
		key := file(t, "k", "key", mode)
		for _, stage := range [][]string{{cert, key}, {"--pkcs12", key}} {
			r := host{socket: d.socket}.execute(t, append(append([]string{"certs", "stage", "default"}, stage...), args...)...)
			want := ""
			if warned != "" {
				want = "mtlsproxyctl: warning: the mode of " + key + ", " + warned + ", lets others read or change it; run: chmod 0600 " + key + "\n"
			}
			r.want(t, result{stdout: r.stdout, stderr: want})
		}
	}
	f(0o600, "")
	f(0o640, "")
	f(0o644, "0644")
	f(0o660, "0660")
	f(0o604, "0604", "--json")
	f(0o644, "", "--quiet")
}

func TestFilesThatCannotBeStaged(t *testing.T) {
	d := newDaemon(t)
	good, empty, none := file(t, "good", "x", 0o600), file(t, "empty", "", 0o600), filepath.Join(t.TempDir(), "none")
	large := file(t, "large", strings.Repeat("x", maxFiles), 0o600)
	f := func(want string, args ...string) {
		t.Helper()
		host{socket: d.socket}.execute(t, append([]string{"certs", "stage", "default"}, args...)...).want(t, result{code: exitFailed, stderr: "mtlsproxyctl: " + want + "\n"})
	}
	f("certificate: open "+none+": no such file or directory", none, good)
	f("key: open "+none+": no such file or directory", good, none)
	f("trust anchors: open "+none+": no such file or directory", good, good, none)
	f("PKCS #12 file: open "+none+": no such file or directory", "--pkcs12", none)
	f("certificate: read "+filepath.Dir(good)+": is a directory", filepath.Dir(good), good)
	f("key: "+empty+" is empty", good, empty)
	f("the files are too large: 765 KiB in all is the most\nhint: are they the right ones?", large, good)
	f("the files are too large: 765 KiB in all is the most\nhint: are they the right ones?", "--pkcs12", "/dev/zero")
	if n := d.asked(); n != "" {
		t.Errorf("the daemon was asked for %s", n)
	}
}

// What mtlsproxyctl takes, the daemon takes, too.
func TestTheLargestFilesFitIntoAStage(t *testing.T) {
	third := make([]byte, maxFiles/3) // and each is filled up to three bytes
	b, err := json.Marshal(api.Stage{Identity: strings.Repeat("x", 255), Cert: third, Key: third, CA: third})
	if err != nil || len(b) > api.MaxStage {
		t.Errorf("%d bytes, at most %d: %v", len(b), api.MaxStage, err)
	}
}

func TestWhatTheDaemonSaysOfAStageThatIsRefused(t *testing.T) {
	d := newDaemon(t)
	path := file(t, "x", "x", 0o600)
	d.says("POST /v1/certs/stage", refuse(http.StatusUnprocessableEntity, api.Refused, "the key does not belong to the certificate", "stage the key that was made with it"))
	host{socket: d.socket}.execute(t, "certs", "stage", "default", path, path).want(t, result{code: exitFailed,
		stderr: "mtlsproxyctl: the key does not belong to the certificate\nhint: stage the key that was made with it\n"})
}

func TestACommitThatTheDaemonMayNotWrite(t *testing.T) {
	d := newDaemon(t)
	d.says("POST /v1/certs/commit", refuse(http.StatusUnprocessableEntity, api.Refused, "the daemon may not write to /etc/mtlsproxy/tls; nothing has changed", "",
		"copy the new certificate to /etc/mtlsproxy/tls/client.crt"))
	host{socket: d.socket}.execute(t, "certs", "commit", "default").want(t, result{code: exitFailed,
		stderr: "mtlsproxyctl: the daemon may not write to /etc/mtlsproxy/tls; nothing has changed\n  copy the new certificate to /etc/mtlsproxy/tls/client.crt\n"})
}
