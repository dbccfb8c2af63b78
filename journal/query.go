package journal

import (
	"context"
	"errors"
	"fmt"
)

// A Query asks for records.
type Query struct {
	Filter
	Newest bool // first; otherwise the oldest
	Limit  int  // 0: no bound
}

// ErrIncomplete is what a query returns that found all but what cannot be read. Damaged
// segments are put aside after it, without what is damaged: asked again, it finds the
// same and returns nil.
var ErrIncomplete = errors.New("some records cannot be read and are left out")

// errEnough ends a query that has reached its limit.
var errEnough = errors.New("enough")

// Query calls fn for the records that q asks for, in the order in which their exchanges
// ended (so that Time may go back and forth a little) or against it. What was added
// before the call is found, written or not. fn may take its time: nothing waits for it.
// An error of fn ends the query and is returned.
//
// At most four queries run at one time; more wait for their turn, or for the end of ctx.
// After Open, the first wait until the directory has been read.
func (l *Log) Query(ctx context.Context, q Query, fn func(*Record) error) error {
	select {
	case l.queries <- struct{}{}:
		defer func() { <-l.queries }()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-l.looked:
	case <-ctx.Done():
		return ctx.Err()
	}
	s, err := l.newScan(&q.Filter)
	if err != nil {
		return err
	}
	s.newest, s.emit = q.Newest, fn
	if q.Limit > 0 {
		left := q.Limit
		s.emit = func(r *Record) error {
			if err := fn(r); err != nil {
				return err
			}
			if left--; left == 0 {
				return errEnough
			}
			return nil
		}
	}
	switch err := s.all(ctx); {
	case errors.Is(err, errEnough):
		return nil
	case err == nil && s.left > 0:
		return fmt.Errorf("reading the request log: %w, in %d places; the first: %w", ErrIncomplete, s.left, s.why)
	case err == nil:
		return l.unread()
	default:
		return err
	}
}

// unread returns why nothing but the memory can be read, if that is so.
func (l *Log) unread() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.opened || l.problem == nil {
		return nil
	}
	return fmt.Errorf("reading the request log: only what waits in memory was found: %w", l.problem)
}
