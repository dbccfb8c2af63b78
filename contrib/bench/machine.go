package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// machine says where the numbers come from, without naming the host.
type machine struct {
	kernel string
	cpu    string
	cpus   int
	temp   string // what temporary files are on: the request log syncs its own
}

func readMachine() (machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return machine{}, fmt.Errorf("reading kernel version: %w", err)
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return machine{}, fmt.Errorf("reading CPU model: %w", err)
	}
	temp, err := kindOfDisk(os.TempDir())
	if err != nil {
		return machine{}, err
	}
	return machine{
		kernel: "Linux " + unix.ByteSliceToString(name.Release[:]),
		cpu:    cpuModel(info),
		cpus:   runtime.NumCPU(),
		temp:   temp,
	}, nil
}

// kindOfDisk tells a disk from memory, where a sync costs nothing.
func kindOfDisk(dir string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("looking at %q: %w", dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		return "in memory", nil
	}
	return "on disk", nil
}

// cpuModel returns the model name; not every architecture has one.
func cpuModel(info []byte) string {
	for line := range bytes.Lines(info) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return runtime.GOARCH
}
