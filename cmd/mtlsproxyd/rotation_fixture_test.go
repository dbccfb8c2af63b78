package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// tended is a daemon with a configuration file, an admin socket and a service manager.
type tended struct {
	*daemon
	admin   *api.Client
	manager *manager
}

// account is who a daemon runs as, and may read its keys as.
type account struct {
	credential *syscall.Credential // nil: who runs the test
}

// unprivileged is somebody whom modes of files concern: who runs the test unless that
// is root. why is not empty if there is nobody.
func unprivileged() (u account, why string) {
	if os.Geteuid() != 0 {
		return account{}, ""
	}
	const nobody = 65534
	u = account{&syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd := exec.Command("/proc/self/exe", "version")
	cmd.Env = []string{asDaemon + "=1", "GOCOVERDIR=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	if err := cmd.Run(); err != nil {
		return account{}, fmt.Sprintf("this process may not start another under uid %d: %v", nobody, err)
	}
	return u, ""
}

// gid is the group that keys are to have.
func (u account) gid() int {
	if u.credential == nil {
		return os.Getegid()
	}
	return int(u.credential.Gid)
}

// openDir makes a directory, all the way to which everybody may go.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		must(t, os.Chmod(d, 0o755))
	}
	return dir
}

// tend starts a daemon as u with the text as its configuration.
func tend(t *testing.T, u account, text string, env ...string) *tended {
	t.Helper()
	dir := openDir(t)
	own := filepath.Join(dir, "own")
	must(t, os.Mkdir(own, 0o700))
	if u.credential != nil {
		must(t, os.Chown(own, int(u.credential.Uid), int(u.credential.Gid)))
	}
	m := newManager(t, filepath.Join(dir, "notify"))
	file := filepath.Join(dir, "mtlsproxy.toml")
	must(t, os.WriteFile(file, []byte("[listener.http]\naddress = \"127.0.0.1:0\"\n"+text), 0o644))
	socket := filepath.Join(own, "admin.sock")
	cmd := command(t, dir, "--config", file, "--set", "admin.address="+socket)
	cmd.Env = append(cmd.Env, append(env, "NOTIFY_SOCKET="+m.path, "STATE_DIRECTORY="+own, "RUNTIME_DIRECTORY="+own)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	d := &tended{daemon: launch(t, cmd), admin: api.NewClient(socket), manager: m}
	t.Cleanup(d.admin.Close)
	return d
}

// identity returns what the daemon says of one identity.
func (d *tended) identity(ctx context.Context, name string) (api.Identity, error) {
	all, err := d.admin.Identities(ctx)
	if err != nil {
		return api.Identity{}, err
	}
	for i := range all {
		if all[i].Name == name {
			return all[i], nil
		}
	}
	return api.Identity{}, fmt.Errorf("there is no identity %q", name)
}

// metrics returns the values of all samples, by name with labels.
func (d *tended) metrics(ctx context.Context) (map[string]string, error) {
	var text strings.Builder
	if err := d.admin.Metrics(ctx, &text); err != nil {
		return nil, err
	}
	samples := map[string]string{}
	for line := range strings.Lines(text.String()) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			samples[line[:at]] = strings.TrimSpace(line[at+1:])
		}
	}
	return samples, nil
}

// logged reports whether one line of the log has all of the words.
func (d *tended) logged(words ...string) bool {
	for line := range strings.Lines(d.output.String()) {
		line = strings.TrimSuffix(line, "\n") + " "
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, " "+word+" ")
		}
		if all {
			return true
		}
	}
	return false
}

// manager is a service manager that remembers what it was told.
type manager struct {
	path string
	mu   sync.Mutex
	told []string
}

func newManager(t *testing.T, path string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	must(t, os.Chmod(path, 0o777))
	m, done := &manager{path: path}, make(chan struct{})
	go func() {
		defer close(done)
		for buffer := make([]byte, 8<<10); ; {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.told = append(m.told, string(buffer[:n]))
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return m
}

// heard reports whether one line of what it was told begins so.
func (m *manager) heard(prefix string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, datagram := range m.told {
		for line := range strings.Lines(datagram) {
			if strings.HasPrefix(line, prefix) {
				return true
			}
		}
	}
	return false
}

// files are where the daemon looks for those of an identity.
type files struct {
	cert, key, ca string
	gid           int // of the key
}

// in names the files in a directory as most people do.
func (u account) in(dir string) files {
	return files{filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"), filepath.Join(dir, "ca.crt"), u.gid()}
}

// table is the identity in the configuration, with a route and an upstream that have
// its name. The requested host is that name with ".test".
func (f files) table(name, endpoint string, more ...string) string {
	return fmt.Sprintf("[identity.%s]\ncert = %q\nkey = %q\nca = %q\n", name, f.cert, f.key, f.ca) + route(name, name, endpoint, more...)
}

// route is a route with an upstream of its own.
func route(name, identity, endpoint string, more ...string) string {
	return fmt.Sprintf("[upstream.%s]\nendpoints = %q\nidentity = %q\n%s\n[[route]]\nname = %q\nhost = \"%s.test\"\ncallers = \"any\"\nupstream = %q\n",
		name, endpoint, identity, strings.Join(more, "\n"), name, name, name)
}

// replace puts the identity in place as one should: by renaming, the key first. It
// returns when it began the last step.
func (f files) replace(id *tlstest.Identity) (time.Time, error) {
	if err := f.put(f.key, id.KeyPEM(), 0o640); err != nil {
		return time.Time{}, err
	}
	last := time.Now()
	return last, f.put(f.cert, id.CertPEM(), 0o644)
}

// put replaces one file by renaming.
func (f files) put(path string, data []byte, mode os.FileMode) error {
	fresh := path + ".new"
	return errors.Join(os.WriteFile(fresh, data, 0o600), os.Chown(fresh, -1, f.gid), os.Chmod(fresh, mode), os.Rename(fresh, path))
}

// until asks again and again, and returns an error if it was not so in time.
func until(limit time.Duration, what string, so func() bool) error {
	for end := time.Now().Add(limit); !so(); pause(5 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("not within %v: %s", limit, what)
		}
	}
	return nil
}

// pause is what whoever writes the files does, or a load between two requests.
func pause(d time.Duration) { <-time.After(d) }
