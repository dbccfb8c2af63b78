package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/mtlsproxy/mtlsproxy"

// imports is who may import what outside the standard library. Our own packages
// are written without the module's name. A package that is missing here may not
// exist: a wall is moved by changing this table, where it is seen.
var imports = map[string][]string{
	"tlsclient/http1":   nil,
	"tlsclient/rawconn": {"golang.org/x/sys/unix"},
	"tlsclient":         {"tlsclient/http1", "tlsclient/keystore", "tlsclient/rawconn", "golang.org/x/sys/unix"},
	"tlsclient/keystore": {
		"github.com/youmark/pkcs8", // scrypt
		"software.sslmate.com/src/go-pkcs12",
	},

	// Test packages, which no other code may import.
	"tlsclient/tlstest":      nil,
	"tlsclient/tlstest/leak": nil,

	"journal": {"github.com/klauspost/compress/zstd", "go.etcd.io/bbolt", "golang.org/x/sys/unix"},
	"limiter": nil,

	"service/admin":     {"service/admin/api", "service/caller"},
	"service/admin/api": nil,
	"service/caller":    {"github.com/mdlayher/netlink", "golang.org/x/sys/unix"},
	"service/config":    {"github.com/pelletier/go-toml/v2", "github.com/pelletier/go-toml/v2/unstable"},
	"service/identity":  {"service/watch", "tlsclient", "golang.org/x/sys/unix"},
	"service/front":     {"service/caller", "tlsclient/http1", "tlsclient/rawconn"},
	"service/proxy": {
		"journal", "limiter", "service/caller", "service/front", "tlsclient", "tlsclient/http1", "tlsclient/rawconn",
		"github.com/VictoriaMetrics/metrics", "golang.org/x/time/rate",
	},
	"service/sd": {
		"github.com/coreos/go-systemd/v22/activation", "github.com/coreos/go-systemd/v22/daemon", "golang.org/x/sys/unix",
	},
	"service/watch": {"github.com/fsnotify/fsnotify"},
	"service": {
		"journal", "limiter", "service/admin", "service/admin/api", "service/caller", "service/config", "service/front", "service/identity", "service/proxy",
		"service/sd", "service/watch", "tlsclient", "tlsclient/http1", "tlsclient/rawconn",
		"github.com/VictoriaMetrics/metrics", "golang.org/x/sys/unix",
	},
	"service/demo": {"service", "service/config"},

	"cmd/mtlsproxyd": {"journal", "service", "service/config", "service/demo", "service/sd", "github.com/alecthomas/kong"},

	"cmd/mtlsproxyctl": {
		"cmd/mtlsproxyctl/prom", "cmd/mtlsproxyctl/text", "cmd/mtlsproxyctl/top", "service/admin/api",
		"github.com/alecthomas/kong", "charm.land/bubbletea/v2", "charm.land/lipgloss/v2", "golang.org/x/sys/unix",
	},
	"cmd/mtlsproxyctl/prom": nil,
	"cmd/mtlsproxyctl/text": {"charm.land/lipgloss/v2"},
	"cmd/mtlsproxyctl/top": {
		"cmd/mtlsproxyctl/prom", "cmd/mtlsproxyctl/text", "service/admin/api", "charm.land/bubbletea/v2", "charm.land/lipgloss/v2",
	},

	"packaging/systemtest":          {"packaging/systemtest/load", "packaging/systemtest/machine", "packaging/systemtest/upstream"},
	"packaging/systemtest/load":     nil,
	"packaging/systemtest/machine":  nil,
	"packaging/systemtest/upstream": nil,

	"contrib/pki":        nil,
	"contrib/bench":      {"golang.org/x/sys/unix"},
	"contrib/testreport": nil,
}

// linked are the modules that may end up in the daemon, directly or not.
var linked = []string{
	"github.com/VictoriaMetrics/metrics",
	"github.com/alecthomas/kong",
	"github.com/coreos/go-systemd/v22",
	"github.com/fsnotify/fsnotify",
	"github.com/klauspost/compress",
	"github.com/mdlayher/netlink",
	"github.com/mdlayher/socket", // of netlink
	"github.com/pelletier/go-toml/v2",
	"github.com/valyala/fastrand",  // of metrics
	"github.com/valyala/histogram", // of metrics
	"github.com/youmark/pkcs8",
	"go.etcd.io/bbolt",
	"golang.org/x/crypto", // scrypt and pbkdf2, of pkcs8 and pkcs12
	"golang.org/x/net",    // bpf, of netlink
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/time",
	"software.sslmate.com/src/go-pkcs12",
}

// forTests are the packages from elsewhere that every test may use.
var forTests = []string{
	"golang.org/x/net/websocket", // somebody else's idea of the protocol
	"golang.org/x/sys/unix",

	// They make keys that our own code only opens.
	"github.com/youmark/pkcs8",
	"software.sslmate.com/src/go-pkcs12",
}

// goPackage is what the go command knows of a package.
type goPackage struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
	Module                             *struct{ Path string }
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	// A profile would list the packages built with it under names of their own.
	cmd := exec.Command("go", append([]string{"list", "-pgo=off", "-json=ImportPath,Standard,Imports,TestImports,XTestImports,Module"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Skip("SKIP: there is no go command to ask: ", err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// short is an import path without the module's name.
func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range goList(t, module+"/...") {
		name := short(p.ImportPath)
		seen[name] = true
		allowed, known := imports[name]
		if !known {
			t.Errorf("package %s is new: put it into the table of imports", name)
			continue
		}
		for _, path := range p.Imports {
			if !isStandard(path) && !slices.Contains(allowed, short(path)) {
				t.Errorf("package %s must not import %s", name, short(path))
			}
		}
		for _, path := range allowed {
			if !slices.Contains(p.Imports, path) && !slices.Contains(p.Imports, module+"/"+path) {
				t.Errorf("package %s does not import %s any more: take it out of the table of imports", name, path)
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			ours := strings.HasPrefix(path, module+"/")
			if !isStandard(path) && !ours && !slices.Contains(allowed, path) && !slices.Contains(forTests, path) {
				t.Errorf("tests of package %s must not import %s", name, path)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		if !seen[name] {
			t.Errorf("package %s is gone: take it out of the table of imports", name)
		}
	}
}

func TestLinkedModules(t *testing.T) {
	for _, p := range goList(t, "-deps", module+"/cmd/mtlsproxyd") {
		switch {
		case p.Standard || p.Module == nil || slices.Contains(linked, p.Module.Path):
		case p.Module.Path != module:
			t.Errorf("the daemon must not contain %s, of module %s", p.ImportPath, p.Module.Path)
		case strings.Contains(p.ImportPath, "tlstest"):
			t.Errorf("the daemon must not contain %s, which is for tests", p.ImportPath)
		}
	}
}
