package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Columns of the sections that compare the daemon with itself.
const (
	logOn     = "log on"
	logOff    = "log off"
	limitsOn  = "limits on"
	limitsOff = "limits off"
)

// limitFlags are limits of every kind that nobody in a benchmark reaches, and a rule for
// which the caller is looked up.
func limitFlags() []string {
	var flags []string
	for _, set := range []string{
		fmt.Sprintf("route.default.callers=uid:%d", os.Getuid()),
		"route.default.limit.rate=1000000/s", "route.default.limit.burst=1000000", "route.default.limit.per=caller",
		"route.default.limit.in_flight=100000", "route.default.limit.per_caller=100000", "route.default.limit.queue=1000",
		"route.default.limit.body=1GiB", "limits.connections_per_caller=100000", "limits.memory=16GiB",
	} {
		flags = append(flags, "--set", set)
	}
	return flags
}

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

// findPairs prepares the comparisons of on with off, for the same build as all other ratios
// are about.
func (b *bench) findPairs() {
	b.pairs = make(map[string][2]*peer)
	for _, section := range []string{sectionLog, sectionLimits} {
		if !b.opt.selected(section) {
			continue
		}
		program, err := b.ownProgram()
		if err != nil {
			b.opt.only = without(b.opt.only, section)
			b.skip(section + " on and off: " + err.Error())
			continue
		}
		args := b.opt.daemonArgs
		switch section {
		case sectionLog:
			b.pairs[section] = [2]*peer{ownPeer(logOn, program, true, args), ownPeer(logOff, program, false, args)}
		case sectionLimits:
			limited := slices.Concat(limitFlags(), args)
			b.pairs[section] = [2]*peer{ownPeer(limitsOn, program, true, limited), ownPeer(limitsOff, program, true, args)}
		}
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
