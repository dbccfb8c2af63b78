package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// version is set by the linker: -X main.version=…
var version string

// apiVersion is the version of the admin API that this program speaks.
const apiVersion = "v1"

// versionCmd prints the version of both sides.
type versionCmd struct{}

// Help is the second half of --help.
func (versionCmd) Help() string {
	return `The daemon may run another version than is installed, until it is restarted. It
exits with 1 if the two cannot understand each other.`
}

// versions is what it prints as JSON.
type versions struct {
	Client api.Version  `json:"client"`
	Daemon *api.Version `json:"daemon,omitempty"`
}

// Run prints the versions.
func (versionCmd) Run(x *control) error {
	if !x.json {
		if err := say(x.stdout, versionLine()+"\n"); err != nil {
			return err
		}
	}
	ctx, cancel := x.within()
	defer cancel()
	daemon, err := x.client.Version(ctx)
	if err != nil {
		return slow(ctx, err)
	}
	v := versions{Client: api.Version{Version: describe(), Go: runtime.Version(), API: apiVersion}, Daemon: &daemon}
	if err := show(x, v, writeVersions); err != nil {
		return err
	}
	if daemon.API != apiVersion {
		return told{exitFailed}
	}
	return nil
}

func writeVersions(w io.Writer, v versions) error {
	d := v.Daemon
	out := fmt.Sprintf("mtlsproxyd %s (%s, API %s, pid %d)\n", text.Safe(d.Version), text.Safe(d.Go), text.Safe(d.API), d.PID)
	switch {
	case d.API != v.Client.API:
		out += fmt.Sprintf("They do not understand each other: mtlsproxyctl speaks API %s. Install the same version of both, then: systemctl restart mtlsproxy\n", v.Client.API)
	case d.Version != v.Client.Version:
		out += "They differ. If the installed version is newer than the daemon's, it runs after: systemctl restart mtlsproxy\n"
	}
	return say(w, out)
}

func versionLine() string {
	return fmt.Sprintf("mtlsproxyctl %s (%s, %s/%s)", describe(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// describe is the linker's version, or else what the build knows of its source.
func describe() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
