package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measure runs all sections with all numbers of threads.
func (b *bench) measure(ctx context.Context) error {
	for _, n := range b.opt.threads {
		var err error
		if b.place, err = place(n); err != nil {
			return err
		}
		if err := pin(b.upstream.pid, b.place.others); err != nil {
			return err
		}
		for _, section := range []struct {
			name string
			run  func(context.Context, int) error
		}{
			{sectionSmall, b.measureSmall},
			{sectionRate, b.measureRate},
			{sectionBulk, b.measureBulk},
			{sectionIdle, b.measureIdle},
			{sectionLog, b.measureLog},
			{sectionLimits, b.measureLimits},
		} {
			if !b.opt.selected(section.name) {
				continue
			}
			if err := section.run(ctx, n); err != nil {
				return fmt.Errorf("%s, N = %d: %w", section.name, n, err)
			}
		}
	}
	return errors.Join(b.faults...)
}

func (b *bench) measureSmall(ctx context.Context, n int) error { return b.smallOf(ctx, n, b.peers) }

func (b *bench) measureRate(ctx context.Context, n int) error { return b.rateOf(ctx, n, b.peers) }

// measureLog does with the request log on and off what the sections before do with the peers.
func (b *bench) measureLog(ctx context.Context, n int) error {
	pair := b.pairs[sectionLog]
	if err := b.smallOf(ctx, n, pair[:]); err != nil {
		return err
	}
	return b.rateOf(ctx, n, pair[:])
}

// measureLimits does with limits on and off what the first section does with the peers.
func (b *bench) measureLimits(ctx context.Context, n int) error {
	pair := b.pairs[sectionLimits]
	return b.smallOf(ctx, n, pair[:])
}

func (b *bench) smallOf(ctx context.Context, n int, peers []*peer) error {
	return b.rounds(ctx, n, peers, func(round int, p *running) error {
		cpu, result, err := p.load(ctx, b.smallSpec(p))
		if err != nil {
			return err
		}
		rate := float64(result.Requests) / result.Elapsed.Seconds()
		b.results.add(n, p.peer.name, "small.rps", rate)
		b.results.add(n, p.peer.name, "small.cpu", micros(cpu)/float64(result.Requests))
		b.results.add(n, p.peer.name, "small.p50", micros(result.P50))
		b.results.add(n, p.peer.name, "small.p99", micros(result.P99))
		b.say("N=%d small    round %d  %-12s %7.0f req/s  %6.1f µs CPU/request  p99 %v",
			n, round, p.peer.name, rate, micros(cpu)/float64(result.Requests), short(result.P99))
		return nil
	})
}

func (b *bench) smallSpec(p *running) loadSpec {
	return loadSpec{Kind: loadClosed, Addr: p.listen, Conns: b.opt.conns, Duration: b.opt.duration}
}

func (b *bench) rateOf(ctx context.Context, n int, peers []*peer) error {
	peak, err := b.referencePeak(ctx, n)
	if err != nil {
		return err
	}
	rate := peak / 2
	b.results.rate[n] = rate
	return b.rounds(ctx, n, peers, func(round int, p *running) error {
		spec := b.smallSpec(p)
		spec.Kind, spec.Rate = loadOpen, rate
		cpu, result, err := p.load(ctx, spec)
		if err != nil {
			return err
		}
		b.results.add(n, p.peer.name, "rate.p50", micros(result.P50))
		b.results.add(n, p.peer.name, "rate.p99", micros(result.P99))
		b.results.add(n, p.peer.name, "rate.p999", micros(result.P999))
		b.results.add(n, p.peer.name, "rate.cpu", micros(cpu)/float64(result.Requests))
		b.say("N=%d rate     round %d  %-12s %7.0f req/s  p50 %v  p99 %v  p99.9 %v",
			n, round, p.peer.name, float64(result.Requests)/result.Elapsed.Seconds(), short(result.P50), short(result.P99), short(result.P999))
		return nil
	})
}

// referencePeak returns nginx's median peak, from the section before or, where that did not
// run or nginx is not compared, from a round for this purpose.
func (b *bench) referencePeak(ctx context.Context, n int) (float64, error) {
	if peak, ok := b.results.median(n, "nginx", "small.rps"); ok {
		return peak, nil
	}
	p, err := b.start(ctx, nginxPeer(b.nginx), n)
	if err != nil {
		return 0, err
	}
	_, result, err := p.load(ctx, b.smallSpec(p))
	if err := errors.Join(err, p.stop()); err != nil {
		return 0, err
	}
	return float64(result.Requests) / result.Elapsed.Seconds(), nil
}

func (b *bench) measureBulk(ctx context.Context, n int) error {
	return b.rounds(ctx, n, b.peers, func(round int, p *running) error {
		if err := b.oneBulk(ctx, n, round, p, "down", b.downloadSpec(p)); err != nil {
			return err
		}
		return b.oneBulk(ctx, n, round, p, "up", b.uploadSpec(p))
	})
}

func (b *bench) downloadSpec(p *running) loadSpec {
	return loadSpec{Kind: loadDownload, Addr: p.listen, Conns: bulkConns, Requests: b.bulkRequests(fileBytes)}
}

func (b *bench) uploadSpec(p *running) loadSpec {
	return loadSpec{Kind: loadUpload, Addr: p.listen, Conns: bulkConns, Requests: b.bulkRequests(uploadBytes), Size: uploadBytes}
}

// bulkRequests returns how many bodies of a size each connection moves, rounded up.
func (b *bench) bulkRequests(size int) int {
	perRound := size * bulkConns
	return (b.opt.bulkMiB<<20 + perRound - 1) / perRound
}

func (b *bench) oneBulk(ctx context.Context, n, round int, p *running, row string, spec loadSpec) error {
	cpu, result, err := p.load(ctx, spec)
	if err != nil {
		return fmt.Errorf("%s: %w", spec.Kind, err)
	}
	perGB := cpu.Seconds() / (float64(result.Bytes) / 1e9)
	speed := float64(result.Bytes) / 1e6 / result.Elapsed.Seconds()
	b.results.add(n, p.peer.name, row+".cpu", perGB)
	b.results.add(n, p.peer.name, row+".speed", speed)
	b.say("N=%d %-8s round %d  %-12s %7.0f MB/s  %6.3f s CPU/GB", n, spec.Kind, round, p.peer.name, speed, perGB)
	return nil
}

// idleSettles bounds the wait for memory to stand still.
const idleSettles = 10 * time.Second

// measureIdle starts every proxy anew for each round: what an earlier load left behind in
// heaps and pools would hide what a connection costs.
func (b *bench) measureIdle(ctx context.Context, n int) error {
	for round := range b.opt.rounds {
		for _, p := range inOrder(b.peers, round) {
			if err := b.oneIdle(ctx, n, round+1, p); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

func (b *bench) oneIdle(ctx context.Context, n, round int, peer *peer) (err error) {
	p, err := b.start(ctx, peer, n)
	if err != nil {
		return err
	}
	defer func() {
		b.account(n, p)
		err = errors.Join(err, p.stop())
	}()

	var before, after int64
	spec := loadSpec{Kind: loadIdle, Addr: p.listen, Conns: b.opt.idle}
	_, err = p.loadAround(ctx, spec, func() (err error) {
		before, err = settledPSS(ctx, p.pid, idleSettles)
		return err
	}, func() (err error) {
		after, err = settledPSS(ctx, p.pid, idleSettles)
		return err
	})
	if err != nil {
		return err
	}
	perConn := float64(after-before) / 1024 / float64(b.opt.idle)
	b.results.add(n, peer.name, "idle.kib", perConn)
	b.say("N=%d idle     round %d  %-12s %7.2f KiB/connection  (%.1f → %.1f MiB)",
		n, round, peer.name, perConn, float64(before)/(1<<20), float64(after)/(1<<20))
	return nil
}

// short is for the eye.
func short(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
