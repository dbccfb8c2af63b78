// Package machine boots whole Debian systems in containers, for tests that need a
// real systemd: a root made with debootstrap and kept in a cache, and machines that
// systemd-nspawn boots from it with a throw-away layer on top. What a machine does to
// its files is gone when it is off, and any number of machines may share a root.
//
// It needs root, Linux with overlayfs, debootstrap and systemd-nspawn; Missing says
// which of them is not there.
package machine
