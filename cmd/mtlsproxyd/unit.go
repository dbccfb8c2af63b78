package main

import (
	"context"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// unit is a service of systemd's that runs with a configuration.
type unit struct {
	name   string
	user   string   // as whom it runs: a name or a uid; "" for root
	group  string   // in place of the user's own; "" for that
	groups []string // beside those of the user
	files  uint64   // descriptors that it may have; 0: nobody knows
	hidden []hidden
}

// hidden is a directory that the sandbox of a unit hides from it.
type hidden struct{ dir, option string }

// serviceUser is as whom the packaged units run.
const serviceUser = "_mtlsproxy"

// unitName is the packaged unit that runs with the configuration in file, or "".
func unitName(file string) string {
	if filepath.Dir(file) != filepath.Dir(defaultConfig) {
		return ""
	}
	if file == defaultConfig {
		return "mtlsproxy.service"
	}
	return "mtlsproxy@" + strings.TrimSuffix(filepath.Base(file), ".toml") + ".service"
}

// systemUnit asks systemd for the unit that runs with the configuration in file. It is
// nil if there is none. If systemd cannot be asked, as in a chroot, it is what the package
// brings, provided that its user is there.
func systemUnit(file string) *unit {
	name := unitName(file)
	if name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", //nolint:gosec // the name is an argument, no option: it begins with mtlsproxy
		"--property=LoadState,User,Group,SupplementaryGroups,ProtectHome,PrivateTmp,LimitNOFILE", name).Output()
	if err != nil {
		if _, err := user.Lookup(serviceUser); err != nil {
			return nil
		}
		return parseUnit(name, "LoadState=loaded\nUser="+serviceUser+"\nProtectHome=yes\nPrivateTmp=yes\n")
	}
	return parseUnit(name, string(out))
}

// parseUnit makes a unit of what systemctl show prints, or nil if it is not installed.
func parseUnit(name, properties string) *unit {
	p := make(map[string]string)
	for line := range strings.Lines(properties) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p[key] = value
	}
	if p["LoadState"] != "loaded" {
		return nil
	}
	u := &unit{name: name, user: p["User"], group: p["Group"], groups: strings.Fields(p["SupplementaryGroups"])}
	if n, err := strconv.ParseUint(p["LimitNOFILE"], 10, 64); err == nil { // it may be "infinity"
		u.files = n
	}
	if home := p["ProtectHome"]; home == "yes" || home == "tmpfs" {
		for _, dir := range []string{"/home", "/root", "/run/user"} {
			u.hidden = append(u.hidden, hidden{dir, "ProtectHome=" + home})
		}
	}
	if tmp := p["PrivateTmp"]; tmp != "" && tmp != "no" {
		u.hidden = append(u.hidden, hidden{"/tmp", "PrivateTmp=" + tmp}, hidden{"/var/tmp", "PrivateTmp=" + tmp})
	}
	return u
}

// hides returns what is wrong with files of c that the sandbox of the unit hides.
func (u *unit) hides(c *config.Config) []string {
	var wrong []string
	for _, f := range filesOf(c) {
		real, err := filepath.EvalSymlinks(f.path)
		if err != nil {
			real = f.path // what is wrong with it, reading it tells
		}
		for _, h := range u.hidden {
			if strings.HasPrefix(f.path, h.dir+"/") || strings.HasPrefix(real, h.dir+"/") {
				wrong = append(wrong, f.of+": "+quoted(f.path, real)+" is hidden from "+u.name+" by its "+h.option+"; put the file elsewhere, such as /etc/mtlsproxy/tls")
				break
			}
		}
	}
	return wrong
}

// quoted is a path in quotes, with where it leads to.
func quoted(path, real string) string {
	if path == real {
		return `"` + path + `"`
	}
	return `"` + path + `", which leads to "` + real + `",`
}

// file is a file that a configuration names, and what for.
type file struct{ of, path string }

// filesOf returns the files that c names with an absolute path, but for the request log.
func filesOf(c *config.Config) []file {
	var all []file
	add := func(of string, paths ...string) {
		for _, path := range paths {
			if filepath.IsAbs(path) { // neither missing nor the URI of a key
				all = append(all, file{of, path})
			}
		}
	}
	for i := range c.Identities {
		id := &c.Identities[i]
		add(`identity "`+id.Name+`"`, id.Cert, id.Key, id.PKCS12, id.Passphrase, id.CA, id.CRL)
	}
	add("[metrics] token_file", c.Metrics.TokenFile)
	return all
}
