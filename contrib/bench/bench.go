package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	fileBytes   = 64 << 20 // of one download
	uploadBytes = 16 << 20 // of one upload
	bulkConns   = 4
	spareConns  = 1024 // beside the idle ones
)

// bench is a run with its upstream up.
type bench struct {
	opt      options
	site     site
	progress io.Writer
	nginx    string // the program
	peers    []*peer
	pairs    map[string][2]*peer // by section: the same build with something on and off
	upstream *child
	place    placement // for the present number of threads
	results  *results
	faults   []error // that end no measurement, but make the run a failure
	cleanup  []func() error
}

// newBench finds the programs, makes the PKI and the file, and starts the upstream.
// The caller must close it, also after an error.
func newBench(ctx context.Context, o options, progress io.Writer) (*bench, error) {
	b := &bench{opt: o, progress: progress}
	b.results = &results{
		when:    time.Now().UTC(),
		threads: o.threads,
		rounds:  o.rounds,
		method:  method(o),
		rate:    make(map[int]float64),
		values:  make(map[cell]series),
	}
	var err error
	if b.results.machine, err = readMachine(); err != nil {
		return b, err
	}
	if b.nginx, err = findProgram("nginx"); err != nil {
		return b, fmt.Errorf("nginx, which is also the upstream: %w", err)
	}
	b.findPeers()
	if len(b.peers) == 0 {
		return b, errors.New("nothing to measure")
	}
	b.findPairs()
	if err := b.makeSite(); err != nil {
		return b, err
	}
	if b.upstream, err = startUpstream(ctx, b.site, b.nginx); err != nil {
		return b, err
	}
	b.cleanup = append(b.cleanup, b.upstream.stop)
	return b, nil
}

// close ends what newBench has started, in reverse order.
func (b *bench) close() error {
	var errs []error
	for _, clean := range slices.Backward(b.cleanup) {
		errs = append(errs, clean())
	}
	return errors.Join(errs...)
}

func (b *bench) findPeers() {
	for _, name := range b.opt.peers {
		p, err := b.findPeer(name)
		if err != nil {
			b.skip(name + ": " + err.Error())
			continue
		}
		b.addPeer(p)
	}
	for _, other := range b.opt.binaries {
		if _, err := os.Stat(other.path); err != nil {
			b.skip(other.name + ": " + err.Error())
			continue
		}
		b.addPeer(ownPeer(other.name, other.path, true, b.opt.daemonArgs))
	}
}

func (b *bench) addPeer(p *peer) {
	b.peers = append(b.peers, p)
	b.results.columns = append(b.results.columns, column{p.name, p.version, p.own})
}

func (b *bench) findPeer(name string) (*peer, error) {
	if name == "mtlsproxy" {
		if _, err := os.Stat(b.opt.mtlsproxyd); err != nil {
			return nil, err
		}
		path, err := filepath.Abs(b.opt.mtlsproxyd)
		if err != nil {
			return nil, err
		}
		return ownPeer(name, path, true, b.opt.daemonArgs), nil
	}
	program, err := findProgram(name)
	if err != nil {
		return nil, err
	}
	if name == "haproxy" {
		return haproxyPeer(program), nil
	}
	return nginxPeer(program), nil
}

// skip says visibly, now and in the report, what is missing and why.
func (b *bench) skip(reason string) {
	b.results.skipped = append(b.results.skipped, reason)
	b.say("SKIP %s", reason)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, format+"\n", args...)
}

// makeSite fills the temporary directory.
func (b *bench) makeSite() error {
	dir, err := os.MkdirTemp("", "mtlsproxy-bench-")
	if err != nil {
		return fmt.Errorf("making temporary directory: %w", err)
	}
	b.cleanup = append(b.cleanup, func() error { return os.RemoveAll(dir) })
	b.site = site{
		Dir:         dir,
		Conns:       spareConns + b.opt.idle,
		Root:        os.Geteuid() == 0,
		SmallBody:   strings.Repeat("0123456789", 10),
		UploadBytes: uploadBytes,
	}
	if b.site.PKI, err = makePKI(dir, b.results.when); err != nil {
		return err
	}
	if b.site.Upstream, err = freeAddr(); err != nil {
		return err
	}
	if err := makeFile(filepath.Join(dir, "file")); err != nil {
		return err
	}
	return b.raiseFileLimit()
}

// makeFile makes the file for downloads. Its bytes are zero, which costs TLS as much as any.
func makeFile(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("making file: %w", err)
	}
	return errors.Join(f.Truncate(fileBytes), f.Close())
}

// raiseFileLimit raises the limit of open files for this process and its children. Where it
// cannot be raised far enough the idle section is left out, and everybody gets less.
func (b *bench) raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading limit of open files: %w", err)
	}
	wanted := filesFor(b.site.Conns)
	raised := syscall.Rlimit{Cur: wanted, Max: max(wanted, limit.Max)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
		b.site.Files = wanted
		return nil
	}
	b.site.Conns = spareConns
	b.site.Files = min(filesFor(b.site.Conns), limit.Max)
	if b.opt.selected(sectionIdle) {
		b.opt.only = without(b.opt.only, sectionIdle)
		b.skip(fmt.Sprintf("idle connections: needs %d open files, the limit is %d", wanted, limit.Max))
	}
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: b.site.Files, Max: limit.Max})
}

// filesFor leaves room beside the client connections for those to the upstream and the rest.
func filesFor(conns int) uint64 { return uint64(conns + spareConns) }

func without(list []string, word string) []string {
	var rest []string
	for _, s := range list {
		if s != word {
			rest = append(rest, s)
		}
	}
	return rest
}
