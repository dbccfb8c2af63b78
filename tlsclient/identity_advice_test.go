package tlsclient

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody runs f with the rights of a user whose files there are none of.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f() // whoever runs this may not read what nobody may
		return
	}
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the thread goes with the goroutine
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			done <- err
			return
		}
		if now, err := unix.SetfsuidRetUid(-1); err != nil || now != 65534 {
			t.Errorf("this thread is uid %d, %v", now, err)
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// openTree makes directories that everybody may enter, and returns the last one.
func openTree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(append([]string{dir}, names...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeKey(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// advice is what is said of a file that cannot be opened.
func advice(t *testing.T, path string, r reader) string {
	t.Helper()
	text := ""
	asNobody(t, func() {
		f, err := os.Open(path)
		if err == nil {
			f.Close()
			t.Error("it can be opened")
			return
		}
		text = explain(err, path, r).Error()
	})
	return text
}

func wantAdvice(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got %q, want %q in it", got, w)
		}
	}
}

var daemon = reader{name: "user _mtlsproxy", group: "_mtlsproxy"}

func TestAFileThatMayNotBeReadIsNamedWithItsRepair(t *testing.T) {
	key := writeKey(t, filepath.Join(openTree(t), "client.key"), 0)
	wantAdvice(t, advice(t, key, daemon), "this daemon runs as user _mtlsproxy: let it read the file, with: chgrp _mtlsproxy "+key+" && chmod 0640 "+key)
}

func TestTheDirectoryThatDeniesIsNamedWithItsRepair(t *testing.T) {
	dir := openTree(t, "archive", "example.org")
	key := writeKey(t, filepath.Join(dir, "key.pem"), 0o644)
	closed := filepath.Dir(dir)
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o755) })
	repair := "let it enter the directory " + closed + ", with: chgrp _mtlsproxy " + closed + " && chmod g+rx " + closed
	wantAdvice(t, advice(t, key, daemon), repair)

	link := filepath.Join(openTree(t, "live"), "key.pem")
	up, err := filepath.Rel(filepath.Dir(link), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(up, link); err != nil {
		t.Fatal(err)
	}
	wantAdvice(t, advice(t, link, daemon), repair)
}

func TestAGroupThatMayEnterIsToBeJoined(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give a directory to a group of others")
	}
	const gid = 54321
	dir := openTree(t, "private")
	key := writeKey(t, filepath.Join(dir, "client.key"), 0o640)
	if err := os.Chown(dir, 0, gid); err != nil {
		t.Skip("this user namespace has no such group: ", err)
	}
	if err := os.Chmod(dir, 0o710); err != nil {
		t.Fatal(err)
	}
	wantAdvice(t, advice(t, key, daemon), "let it enter the directory "+dir+" as a member of the group "+strconv.Itoa(gid)+", with SupplementaryGroups="+strconv.Itoa(gid)+" in its unit")
}

// That of Debian belongs to all services.
func TestTheSharedDirectoryOfKeysKeepsItsGroup(t *testing.T) {
	got := obstacle{path: sharedKeys, dir: true}.whenDenied(sharedKeys+"/client.key", daemon)
	wantAdvice(t, got, "SupplementaryGroups=ssl-cert", "LoadCredential=")
	if strings.Contains(got, "chgrp") {
		t.Errorf("got %q", got)
	}
}

func TestAMissingDirectoryIsToBeMade(t *testing.T) {
	dir := openTree(t)
	missing := filepath.Join(dir, "tls")
	key := filepath.Join(missing, "billing", "client.key")
	wantAdvice(t, advice(t, key, daemon), "there is no directory "+missing+": make it, with: install -d -m 0750 -g _mtlsproxy "+filepath.Dir(key)+", and put the file there")
	wantAdvice(t, advice(t, key, reader{root: true, group: "root"}), "with: install -d "+filepath.Dir(key)+",")

	link := filepath.Join(dir, "link")
	if err := os.Symlink("elsewhere", link); err != nil {
		t.Fatal(err)
	}
	wantAdvice(t, advice(t, filepath.Join(link, "sub", "client.key"), daemon), "no directory "+filepath.Join(dir, "elsewhere")+":", "_mtlsproxy "+filepath.Join(dir, "elsewhere", "sub")+",")
}

func TestAMissingFileIsToBePutThere(t *testing.T) {
	dir := openTree(t)
	got := advice(t, filepath.Join(dir, "client.key"), daemon)
	if want := "no such file or directory; put the file there, or correct its path in the configuration"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q at its end", got, want)
	}
	file := writeKey(t, filepath.Join(dir, "tls"), 0o644)
	wantAdvice(t, advice(t, filepath.Join(file, "client.key"), daemon), file+" is no directory")
}

func TestACredentialThatIsMissingIsToBeLoaded(t *testing.T) {
	wantAdvice(t, advice(t, "/run/credentials/mtlsproxy.service/client.key", daemon), "LoadCredential=client.key:FILE")
}

func TestWhatTheSandboxHidesIsSaidToBeHidden(t *testing.T) {
	inside := daemon
	inside.systemd = true
	missing := &fs.PathError{Op: "open", Path: "it", Err: syscall.ENOENT}
	denied := &fs.PathError{Op: "open", Path: "it", Err: syscall.EACCES}
	link := filepath.Join(openTree(t), "key.pem")
	if err := os.Symlink("/home/somebody/key.pem", link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		err  error
		r    reader
		want string
	}{
		{"/home/somebody/key.pem", denied, inside, "ProtectHome= of the unit hides /home/"},
		{"/root/key.pem", missing, inside, "ProtectHome= of the unit hides /root/"},
		{"/tmp/there-is-none/key.pem", missing, inside, "PrivateTmp= of the unit hides /tmp/"},
		{"/var/tmp/none/key.pem", missing, inside, "PrivateTmp= of the unit hides /var/tmp/"},
		{"/tmp/there-is-none/key.pem", denied, inside, "chmod"}, // a private one is empty
		{"/tmp/there-is-none/key.pem", missing, daemon, "install -d"},
	} {
		wantAdvice(t, explain(c.err, c.path, c.r).Error(), c.want)
	}
	wantAdvice(t, explain(denied, link, inside).Error(), "ProtectHome= of the unit hides /home/")
}

// Its variables are inherited, by a shell in a graphical session for example.
func TestTheVariablesOfAnotherProcessAreNoSandbox(t *testing.T) {
	t.Setenv("INVOCATION_ID", "1")
	t.Setenv("SYSTEMD_EXEC_PID", "1")
	if process().systemd {
		t.Error("a process that a shell has started is taken for a service")
	}
	t.Setenv("SYSTEMD_EXEC_PID", strconv.Itoa(os.Getpid()))
	if !process().systemd {
		t.Error("a service is not known as one")
	}
}
