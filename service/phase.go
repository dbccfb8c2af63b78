package service

import (
	"log/slog"
	"sync"
)

// Phase is a stage in the life of the daemon.
type Phase int

// The phases, in the order in which they come.
const (
	Starting Phase = iota
	Running
	Draining
	Stopping
)

func (p Phase) String() string {
	return [...]string{"starting", "running", "draining", "stopping"}[p]
}

// phases keeps the present phase. It only ever moves forward, so that nobody can
// announce readiness after the end has begun.
type phases struct {
	mu  sync.Mutex
	now Phase
	log *slog.Logger
}

func (p *phases) enter(next Phase, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next <= p.now {
		return
	}
	p.now = next
	p.log.Info(next.String(), args...) //nolint:sloglint // a phase is announced by its name
}
