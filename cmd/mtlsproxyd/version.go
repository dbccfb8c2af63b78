package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -X main.version=…
var version string

// versionCmd prints what this program is.
type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(w world) error {
	_, err := fmt.Fprintln(w.stdout, versionLine())
	return err
}

func versionLine() string {
	return fmt.Sprintf("mtlsproxyd %s (%s, %s/%s)", describe(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
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
