package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// units are those of a daemon of the system's, with their names at systemd.
type units struct{ service, socket string }

// unitsOf returns the packaged units whose admin socket is at path, if that of the
// system's daemon is at system; ok is false if there are none.
func unitsOf(path, system string) (u units, ok bool) {
	if path == system {
		return units{"mtlsproxy.service", "mtlsproxy-admin.socket"}, true
	}
	instance, ok := strings.CutPrefix(filepath.Dir(path), filepath.Dir(system)+"/")
	if !ok || strings.Contains(instance, "/") || filepath.Base(path) != filepath.Base(system) {
		return units{}, false
	}
	return units{"mtlsproxy@" + instance + ".service", "mtlsproxy-admin@" + instance + ".socket"}, true
}

// unitState is what systemd knows of a unit.
type unitState struct{ load, active string }

// systemdStates asks systemd for the states of units. Those that it does not tell are
// missing: there may be no systemd.
func systemdStates(names ...string) map[string]unitState {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", append([]string{"show", "--property=Id,LoadState,ActiveState", "--"}, names...)...).Output() //nolint:gosec // names are arguments, no options
	if err != nil {
		return nil
	}
	return parseStates(string(out))
}

// parseStates takes apart what systemctl show prints: a block of lines for each unit.
func parseStates(shown string) map[string]unitState {
	states := make(map[string]unitState)
	for block := range strings.SplitSeq(shown, "\n\n") {
		p := make(map[string]string)
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			p[key] = value
		}
		if p["Id"] != "" {
			states[p["Id"]] = unitState{p["LoadState"], p["ActiveState"]}
		}
	}
	return states
}

// notRunning explains that nobody answers on the socket: that is not always for want of a
// daemon.
func (x *control) notRunning() *api.Error {
	socket := x.client.Socket()
	why := "connections are refused"
	if _, err := os.Lstat(socket); errors.Is(err, fs.ErrNotExist) {
		why = "there is no such socket"
	}
	e := &api.Error{Class: classNotRunning, Message: fmt.Sprintf("no daemon answers on %s: %s", socket, why)}
	const other = "; or name its socket: --socket PATH or MTLSPROXY_ADMIN_SOCKET"
	u, ok := unitsOf(socket, x.systemSocket)
	if !ok {
		e.Hint = "start it with: systemctl start mtlsproxy" + other
		return e
	}
	states := x.states(u.service, u.socket)
	service, told := states[u.service]
	again := u.again(states)
	name := strings.TrimSuffix(u.service, ".service")
	switch {
	case service.active == "active" || service.active == "reloading":
		e.Message += ", though " + u.service + " runs"
		e.Hint = "bring its admin socket back with: " + again
	case told && states[u.socket].load == "masked":
		e.Hint = "start it with: systemctl start " + name + "; its admin socket is masked: " + again + other
	case told:
		e.Hint = "start it with: systemctl start " + name + other
	default:
		e.Hint = "start it with: systemctl start " + name + "; if it runs, bring its admin socket back with: " + again + other
	}
	return e
}

// again is what brings the admin socket back. Whatever restarts it restarts the service,
// too, which loses no request.
func (u units) again(states map[string]unitState) string {
	restart := "systemctl restart " + u.socket
	if states[u.socket].load == "masked" {
		return "systemctl unmask " + u.socket + " && " + restart
	}
	return restart
}

// states asks for the states of units, where somebody can tell.
func (x *control) states(names ...string) map[string]unitState {
	if x.world.units == nil {
		return nil
	}
	return x.world.units(names...)
}

// tooSlow explains that there was no answer in time. A daemon that answers another
// question is busy; otherwise it hangs, or the socket is one that it does not have:
// connections to that wait for ever.
func (x *control) tooSlow() *api.Error {
	socket := x.client.Socket()
	e := &api.Error{
		Class: classTooSlow, Message: fmt.Sprintf("the daemon on %s did not answer within %v", socket, x.timeout),
		Hint: fmt.Sprintf("--timeout %v gives it longer; journalctl -u mtlsproxy may tell what holds it", 6*x.timeout),
	}
	u, ok := unitsOf(socket, x.systemSocket)
	if !ok {
		return e
	}
	if _, err := x.theirs(); errors.Is(err, context.DeadlineExceeded) {
		e.Message = fmt.Sprintf("%s takes connections, but nobody answered within %v", socket, x.timeout)
		e.Hint = fmt.Sprintf("journalctl -u %s may tell what holds the daemon; if it runs without this socket: %s", u.service, u.again(x.states(u.service, u.socket)))
	}
	return e
}
