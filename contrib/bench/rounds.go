package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// rounds starts the peers with n threads, calls one for each of them in alternating order,
// so that a machine that becomes faster or slower favours nobody, and stops them again.
func (b *bench) rounds(ctx context.Context, n int, peers []*peer, one func(round int, p *running) error) (err error) {
	fleet := make(map[*peer]*running)
	defer func() {
		for _, peer := range peers {
			if p := fleet[peer]; p != nil {
				b.account(n, p)
				err = errors.Join(err, p.stop())
			}
		}
	}()
	for _, peer := range peers {
		p, err := b.start(ctx, peer, n)
		if err != nil {
			return err
		}
		fleet[peer] = p
	}
	for round := range b.opt.rounds {
		for _, peer := range inOrder(peers, round) {
			if err := one(round+1, fleet[peer]); err != nil {
				return fmt.Errorf("%s: %w; it printed: %s", peer.name, err, fleet[peer].logTail())
			}
		}
	}
	return nil
}

// start starts a peer with n threads in its place.
func (b *bench) start(ctx context.Context, peer *peer, n int) (*running, error) {
	p, err := peer.start(ctx, b.site, n)
	if err != nil {
		return nil, err
	}
	p.others = b.place.others
	if err := pin(p.pid, b.place.proxies); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// inOrder returns the peers, in every second round from the last to the first.
func inOrder(peers []*peer, round int) []*peer {
	order := slices.Clone(peers)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

// load runs a generator against the proxy and returns the CPU time the proxy took for it,
// until the last record was on disk where it keeps a request log.
func (p *running) load(ctx context.Context, spec loadSpec) (time.Duration, loadResult, error) {
	var before, after cpuByPID
	result, err := p.loadAround(ctx, spec, func() (err error) {
		before, err = treeCPU(p.pid)
		return err
	}, func() (err error) {
		after, err = treeCPU(p.pid)
		return err
	})
	if err != nil {
		return 0, loadResult{}, err
	}
	cpu, err := after.since(before)
	return cpu, result, err
}

// loadAround runs a generator with a reading before and one after it. Before each, the
// request log, if the proxy keeps one, has come to rest and been compared with what was sent.
func (p *running) loadAround(ctx context.Context, spec loadSpec, before, after func() error) (loadResult, error) {
	spec.CPUs = p.others
	settled := func(read func() error) func(int64) error {
		return func(requests int64) error {
			if p.log != nil {
				if err := p.log.settle(ctx, requests); err != nil {
					return err
				}
			}
			return read()
		}
	}
	return runLoad(ctx, spec, loadHooks{before: settled(before), after: settled(after)})
}
