package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// ErrClosed says that a log has been closed.
var ErrClosed = errors.New("the request log was closed")

// Follow calls fn for the wanted records that are added from now on, within half a
// second, until ctx ends or fn returns an error; that error is returned, or ErrClosed
// once the log is closed. A follower that is more than 100,000 records behind, or behind a
// deleted segment, loses records: then fn is called with nil and their number, wanted or
// not.
//
// It reads as queries do, from memory and from the files, so that no follower can slow
// the writer.
func (l *Log) Follow(ctx context.Context, f Filter, fn func(r *Record, lost uint64) error) error {
	s, err := l.newScan(&f)
	if err != nil {
		return err
	}
	s.emit = func(r *Record) error { return fn(r, 0) }
	next := l.buffer.usage().accepted
	defer l.follows.Add(-1)
	if l.follows.Add(1) > maxFollowers {
		return fmt.Errorf("following the request log: %d follow it already; end one of them", maxFollowers)
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return ErrClosed
		case <-tick.C:
		}
		end := l.buffer.usage().accepted
		if end == next {
			continue
		}
		lost := uint64(0)
		if end-next > followBehind {
			lost = end - next - followBehind
			next += lost
			if err := fn(nil, lost); err != nil {
				return err
			}
		}
		if next, err = s.since(ctx, next, fn); err != nil {
			return err
		}
	}
}

// since emits this run's records from next on, and returns the number of the one that
// comes after them.
func (s *scan) since(ctx context.Context, next uint64, fn func(*Record, uint64) error) (uint64, error) {
	s.low, s.seen = int64(next), 0
	memory, first, err := s.memory()
	if err != nil {
		return next, err
	}
	s.high = int64(first)
	if first > next {
		for _, seg := range s.l.ownFrom(s.low) {
			if err := s.segment(ctx, seg); err != nil {
				return next, err
			}
		}
		if missed := first - next - min(s.seen, first-next); missed > 0 {
			if err := fn(nil, missed); err != nil {
				return next, err
			}
		}
	}
	s.seen = 0
	if err := s.inMemory(ctx, memory); err != nil {
		return next, err
	}
	return max(next, first) + s.seen, nil
}

// ownFrom returns this run's segments that may hold its records from number low on.
func (l *Log) ownFrom(low int64) []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []*segment
	for i, seg := range l.segments {
		// A segment ends where the next begins.
		after := i+1 < len(l.segments) && l.segments[i+1].own && l.segments[i+1].base <= low
		if seg.own && !after {
			out = append(out, seg)
		}
	}
	return out
}

func (l *Log) path(seg *segment) string { return filepath.Join(l.o.Directory, seg.name()) }

// successor returns the file that has taken the place of a segment's.
func (l *Log) successor(seg *segment) *segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, next := range l.segments {
		if next.number == seg.number && next.repair != seg.repair {
			return next
		}
	}
	return nil
}
