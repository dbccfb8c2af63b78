package service

import (
	"log/slog"
	"sync"
)

// Phase is a stage in the life of the daemon.
type Phase int

// The phases, in the order in which they come; running and reloading take turns.
const (
	Starting Phase = iota
	Running
	Reloading
	Draining
	Stopping
)

func (p Phase) String() string {
	return [...]string{"starting", "running", "reloading", "draining", "stopping"}[p]
}

// phases keeps the present phase. Nobody can announce readiness after the end has
// begun: but for a reload that is over, it only ever moves forward.
type phases struct {
	mu  sync.Mutex
	now Phase
	log *slog.Logger
}

func (p *phases) enter(next Phase, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next <= p.now && !(p.now == Reloading && next == Running) {
		return
	}
	p.now = next
	p.log.Info(next.String(), args...) //nolint:sloglint // a phase is announced by its name
}

func (p *phases) present() Phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}
