package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// deadliner is what listeners of package net have beside net.Listener.
type deadliner interface {
	SetDeadline(time.Time) error
}

// Probe finds out whether the accept loop of a listener that is served turns: it
// wakes the loop, without a connection, and waits for its answer until ctx ends.
func (l *Listener) Probe(ctx context.Context) error {
	d, ok := l.Listener.(deadliner)
	if !ok {
		return fmt.Errorf("listener %q of type %T cannot be probed", l.Name(), l.Listener)
	}
	l.probing.Lock() // for no longer than the ctx of whoever has it
	defer l.probing.Unlock()
	select {
	case <-l.beat: // of an earlier probe that was given up
	default:
	}
	if err := d.SetDeadline(time.Unix(1, 0)); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return nil // it was removed, which is no fault
		}
		return fmt.Errorf("probing listener %q: %w", l.Name(), err)
	}
	select {
	case <-l.beat:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the accept loop of listener %q does not turn: %w", l.Name(), ctx.Err())
	}
}

// answerProbe goes back to waiting for connections.
func (l *Listener) answerProbe() {
	if d, ok := l.Listener.(deadliner); ok {
		_ = d.SetDeadline(time.Time{}) // fails on a closed listener only, whose Accept says so
	}
	select {
	case l.beat <- struct{}{}:
	default:
	}
}
