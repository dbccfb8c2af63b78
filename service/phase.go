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
	log  *slog.Logger
	tell func(Phase) // whoever wants to know, in the order of the phases; it may ask for the present one

	entering sync.Mutex
	mu       sync.Mutex
	now      Phase
}

func (p *phases) enter(next Phase, args ...any) { p.enterAs(next, next.String(), args...) }

// enterAs is enter with other words than the name of the phase.
func (p *phases) enterAs(next Phase, message string, args ...any) {
	p.entering.Lock()
	defer p.entering.Unlock()
	if now := p.present(); next <= now && !(now == Reloading && next == Running) {
		return
	}
	p.mu.Lock()
	p.now = next
	p.mu.Unlock()
	p.log.Info(message, args...) //nolint:sloglint // a phase is announced by its name
	if p.tell != nil {
		p.tell(next)
	}
}

func (p *phases) present() Phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}
