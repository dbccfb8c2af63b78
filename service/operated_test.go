package service_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// operated is a daemon with a configuration file, a request log and an admin socket.
type operated struct {
	*daemon
	file  string
	admin *api.Client
}

// operate starts a daemon with the text as its configuration file, in which IDENTITY stands for the table of the
// identity "default".
func (p *pki) operate(tb testing.TB, text string) *operated {
	tb.Helper()
	return p.operateIn(tb, filepath.Dir(socketPath(tb)), text)
}

// operateIn is operate with all files of the daemon's in dir.
func (p *pki) operateIn(tb testing.TB, dir, text string) *operated {
	tb.Helper()
	o := &operated{file: filepath.Join(dir, "mtlsproxy.toml")}
	o.write(tb, p, text)
	socket := filepath.Join(dir, "admin.sock")
	o.daemon = startDaemon(tb, config.Options{File: o.file, Set: []string{
		"log.enabled=true", "log.directory=" + filepath.Join(dir, "log"), "admin.address=" + socket,
	}})
	o.admin = api.NewClient(socket)
	tb.Cleanup(o.admin.Close)
	return o
}

// write makes text the configuration.
func (o *operated) write(tb testing.TB, p *pki, text string) {
	tb.Helper()
	id := "[identity.default]\ncert = \"" + p.files.Cert + "\"\nkey = \"" + p.files.Key + "\"\nca = \"" + p.files.CA + "\"\n"
	tlstest.WriteFile(tb, o.file, []byte(strings.Replace(text, "IDENTITY\n", id, 1)), 0o644)
}

// oneRoute leads every host to the upstream at address, with more keys of the upstream.
func oneRoute(address string, more ...string) string {
	return "IDENTITY\n[upstream.u]\nendpoints = \"" + address + "\"\n" + strings.Join(more, "\n") +
		"\n[[route]]\nname = \"r\"\nhost = \"*\"\ncallers = \"any\"\nupstream = \"u\"\n"
}

// reload asks for a reload and fails the test unless it succeeds.
func (o *operated) reload() api.Reload {
	o.tb.Helper()
	r, err := o.admin.Reload(o.tb.Context())
	if err != nil {
		o.tb.Fatalf("reload: %v", describe(err))
	}
	return r
}

// hangup sends SIGHUP and waits until the reload is over.
func (o *operated) hangup() {
	o.tb.Helper()
	before := len(o.log.with(" reloaded="))
	o.hangups <- syscall.SIGHUP
	o.await("the reload", func() bool { return len(o.log.with(" reloaded=")) > before })
}

func (o *operated) status() api.Status {
	o.tb.Helper()
	s, err := o.admin.Status(o.tb.Context())
	if err != nil {
		o.tb.Fatal(err)
	}
	return s
}

// records returns what the request log has, the oldest first.
func (o *operated) records(q api.Query) []api.Record {
	o.tb.Helper()
	q.Oldest = true
	var all []api.Record
	if err := o.admin.Records(o.tb.Context(), q, func(r api.Record) error {
		all = append(all, r)
		return nil
	}); err != nil {
		o.tb.Fatal(describe(err))
	}
	return all
}

// recorded waits for the record of one exchange: it is made after the client has got its answer.
func (o *operated) recorded(n int) []api.Record {
	o.tb.Helper()
	var all []api.Record
	o.await(itoa(n)+" records", func() bool { all = o.records(api.Query{}); return len(all) >= n })
	return all
}

// describe adds the details of an error of the API.
func describe(err error) string {
	text := err.Error()
	if e, ok := err.(*api.Error); ok {
		text += " " + strings.Join(e.Details, "; ")
	}
	return text
}
