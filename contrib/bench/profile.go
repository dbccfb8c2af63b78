package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// profile loads mtlsproxyd alone, mostly with small requests and somewhat with bulk, and has
// it write a CPU profile, for profile-guided optimisation.
func profile(ctx context.Context, o options, stdout io.Writer) (err error) {
	file, err := filepath.Abs(o.profile)
	if err != nil {
		return fmt.Errorf("finding %q: %w", o.profile, err)
	}
	o.peers, o.binaries = []string{"mtlsproxy"}, nil
	o.only = without(without(without(o.only, sectionIdle), sectionLog), sectionLimits)
	o.daemonArgs = slices.Concat(o.daemonArgs, []string{"--cpu-profile", file})
	b, err := newBench(ctx, o, stdout)
	defer func() { err = errors.Join(err, b.close()) }()
	if err != nil {
		return err
	}
	p, err := b.peers[0].start(ctx, b.site, slices.Max(o.threads))
	if err != nil {
		return err
	}
	loadErr := b.profileLoads(ctx, p)
	// The daemon writes the profile when it ends.
	if err := errors.Join(loadErr, p.stop()); err != nil {
		return err
	}
	return checkProfile(file)
}

func (b *bench) profileLoads(ctx context.Context, p *running) error {
	for range b.opt.rounds {
		if _, _, err := p.load(ctx, b.smallSpec(p)); err != nil {
			return err
		}
	}
	for _, spec := range []loadSpec{b.downloadSpec(p), b.uploadSpec(p)} {
		if _, _, err := p.load(ctx, spec); err != nil {
			return fmt.Errorf("%s: %w", spec.Kind, err)
		}
	}
	return nil
}

func checkProfile(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("looking for the profile: %w", err)
	}
	if info.Size() == 0 {
		return fmt.Errorf("the profile %q is empty", file)
	}
	return nil
}
