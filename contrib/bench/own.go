package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Columns of the section that compares the daemon with itself.
const (
	logOn  = "log on"
	logOff = "log off"
)

// ownPeer is a build of mtlsproxyd as operators run it, with an admin socket and, if keepLog
// is set, a request log. Extra goes to the end of its command line.
func ownPeer(name, program string, keepLog bool, extra []string) *peer {
	return &peer{
		name:    name,
		program: program,
		version: askVersion(program, "version"),
		own:     true,
		command: func(s site, listen string, threads int) (launch, error) {
			// New for each start: what an earlier one has kept must not be read again.
			state, err := os.MkdirTemp(s.Dir, "state-")
			if err != nil {
				return launch{}, fmt.Errorf("making state directory: %w", err)
			}
			admin := filepath.Join(state, "admin.sock")
			how := launch{
				argv: []string{
					program,
					"--listen", listen,
					"--upstream", "https://" + s.Upstream,
					"--cert", s.PKI.ClientCert,
					"--key", s.PKI.ClientKey,
					"--ca", s.PKI.CA,
					"--set", "admin.address=" + admin,
					"--set", "log.enabled=" + strconv.FormatBool(keepLog),
					"--set", "log.directory=" + filepath.Join(state, "log"),
				},
				env: []string{fmt.Sprintf("GOMAXPROCS=%d", threads)},
			}
			how.argv = append(how.argv, extra...)
			if keepLog {
				how.admin = admin
			}
			return how, nil
		},
	}
}

// findLogPair prepares the comparison of the request log on with off, for the same build as
// all other ratios are about.
func (b *bench) findLogPair() {
	program, err := b.ownProgram()
	if err != nil {
		b.opt.only = without(b.opt.only, sectionLog)
		b.skip("request log on and off: " + err.Error())
		return
	}
	for _, name := range []string{logOn, logOff} {
		b.logPair = append(b.logPair, ownPeer(name, program, name == logOn, b.opt.daemonArgs))
	}
}

// ownProgram returns the build of mtlsproxyd that the ratios are about.
func (b *bench) ownProgram() (string, error) {
	for _, p := range b.peers {
		if p.own {
			return p.program, nil
		}
	}
	return "", errors.New("no build of mtlsproxyd is compared")
}
