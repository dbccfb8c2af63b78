package service

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// overruled is something that the configuration says of a socket and that does not hold,
// since the service manager passes a socket of that name.
type overruled struct {
	event string
	text  string
}

// overruled tells what of c does not hold. The same address in both places is fine: a
// configuration may serve under systemd and without.
func (s *Service) overruled(c *config.Config) []overruled {
	var all []overruled
	for i := range c.Listeners {
		l := &c.Listeners[i]
		passed := s.passedAs(l.Name)
		if len(passed) == 0 {
			continue
		}
		what, unit := "listener "+l.Name, s.socketUnit(l.Name)
		var elsewhere []string
		for _, a := range l.Addresses {
			if !slices.ContainsFunc(passed, func(p net.Addr) bool { return sameAddress(a, p) }) {
				elsewhere = append(elsewhere, strings.TrimPrefix(a.String(), "unix:"))
			}
		}
		all = append(all, overruledAddresses(what, unit, elsewhere, passed)...)
		if isSet(c, "listener."+l.Name+".mode") {
			all = append(all, overruledMode(what, unit, l.Mode, passed)...)
		}
	}
	return append(all, s.overruledAdmin(&c.Admin, isSet(c, "admin.mode"))...)
}

func (s *Service) overruledAdmin(c *config.Admin, modeSet bool) []overruled {
	passed := s.passedAs(sd.Admin)
	if len(passed) == 0 {
		return nil
	}
	var all []overruled
	unit := s.socketUnit(sd.Admin)
	if c.Address != "" && !slices.ContainsFunc(passed, func(p net.Addr) bool { return p.String() == c.Address }) {
		all = overruledAddresses("[admin]", unit, []string{c.Address}, passed)
	}
	if modeSet {
		all = append(all, overruledMode("[admin]", unit, c.Mode, passed)...)
	}
	return all
}

// passedAs returns the addresses of the sockets that were passed by a name.
func (s *Service) passedAs(name string) []net.Addr {
	var out []net.Addr
	for _, l := range s.Passed.Listeners {
		if l.Name == name {
			out = append(out, l.Addr())
		}
	}
	return out
}

// sameAddress reports whether a passed socket listens where a says. Port 0 is any port,
// and localhost any loopback address.
func sameAddress(a config.Address, passed net.Addr) bool {
	if a.Unix != "" {
		return passed.Network() == "unix" && passed.String() == a.Unix
	}
	tcp, ok := passed.(*net.TCPAddr)
	if !ok || a.Port != 0 && int(a.Port) != tcp.Port {
		return false
	}
	switch a.Host {
	case "localhost":
		return tcp.IP.IsLoopback()
	case "": // all addresses
		return tcp.IP.IsUnspecified()
	}
	return tcp.IP.Equal(net.ParseIP(a.Host))
}

func overruledAddresses(what, unit string, elsewhere []string, passed []net.Addr) []overruled {
	if len(elsewhere) == 0 {
		return nil
	}
	var there []string
	for _, p := range passed {
		there = append(there, p.String())
	}
	address, is := "address", "is"
	if len(elsewhere) > 1 {
		address, is = "addresses", "are"
	}
	return []overruled{{journal.Degraded, fmt.Sprintf("%s %s of %s %s not used: %s passes %s; %s",
		address, strings.Join(elsewhere, ", "), what, is, unit, strings.Join(there, ", "), remedy(unit, elsewhere[0]))}}
}

// remedy is what to do about an address that is not used, or about a mode.
func remedy(unit, setting string) string {
	switch known := strings.HasSuffix(unit, ".socket"); {
	case !known:
		return "change it there"
	case setting == config.AdminNone:
		return "systemctl mask --now " + unit + " turns it off"
	}
	return "systemctl edit " + unit + " changes that"
}

// overruledMode tells that unix sockets have other permissions than mode.
func overruledMode(what, unit string, mode fs.FileMode, passed []net.Addr) []overruled {
	for _, p := range passed {
		if p.Network() != "unix" {
			continue
		}
		info, err := os.Lstat(p.String())
		if err != nil || info.Mode().Perm() == mode.Perm() {
			continue // it cannot be told, or holds
		}
		return []overruled{{journal.ModeFailed, fmt.Sprintf("mode %04o of %s is not used: %s gives %s %04o with SocketMode=; %s",
			mode.Perm(), what, unit, p, info.Mode().Perm(), remedy(unit, ""))}}
	}
	return nil
}

// systemConfig is where the configurations of the packaged units stand.
const systemConfig = "/etc/mtlsproxy"

// socketUnit is the unit that passes sockets of a name. Who passes those of a daemon that
// is none of the packaged ones, it cannot know.
func (s *Service) socketUnit(name string) string {
	unit, known := map[string]string{sd.HTTP: "mtlsproxy", sd.Admin: "mtlsproxy-admin"}[name]
	if !known || filepath.Dir(s.File) != systemConfig {
		return "the unit with FileDescriptorName=" + name
	}
	if instance := strings.TrimSuffix(filepath.Base(s.File), ".toml"); instance != "mtlsproxy" {
		unit += "@" + instance
	}
	return unit + ".socket"
}

// isSet reports whether somebody has set a key.
func isSet(c *config.Config, key string) bool {
	return slices.ContainsFunc(c.Settings(), func(s config.Setting) bool { return s.Key == key && s.Source != "default" })
}

// warnOverruled makes events of what does not hold.
func (s *Service) warnOverruled(c *config.Config) {
	for _, u := range s.overruled(c) {
		s.Log.Warn("a setting of a socket is not used", "event", u.event, "error", u.text)
	}
}
