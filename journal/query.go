package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
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

// ErrBusy says that too many queries are open.
var ErrBusy = errors.New("too busy")

// errEnough ends a query that has reached its limit.
var errEnough = errors.New("enough")

// Query calls fn for the records that q asks for, in the order in which their exchanges
// ended (so that Time may go back and forth a little) or against it. What was added
// before the call is found, written or not. fn may take its time: nothing waits for it.
// An error of fn ends the query and is returned.
//
// At most four queries work at one time; more wait for their turn, or for the end of ctx.
// While fn runs, its query does not work: a reader that pauses holds up nobody. There are
// at most sixteen queries, paused ones included; one more waits two seconds and then gets
// [ErrBusy]. After Open, the first wait until the directory has been read.
func (l *Log) Query(ctx context.Context, q Query, fn func(*Record) error) error {
	if err := l.admit(ctx); err != nil {
		return err
	}
	defer func() { <-l.readers }()
	select {
	case <-l.looked:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.turn(ctx); err != nil {
		return err
	}
	works := true
	defer func() {
		if works {
			<-l.queries
		}
	}()
	s, err := l.newScan(&q.Filter)
	if err != nil {
		return err
	}
	left := q.Limit
	s.newest = q.Newest
	s.emit = func(r *Record) error {
		<-l.queries
		works = false
		if err := fn(r); err != nil {
			return err
		}
		if left--; left == 0 {
			return errEnough
		}
		err := l.turn(ctx)
		works = err == nil
		return err
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

// admit waits for a place among the readers.
func (l *Log) admit(ctx context.Context) error {
	select {
	case l.readers <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(busyAfter)
	defer timer.Stop()
	select {
	case l.readers <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("reading the request log: %w: %d queries are open and their readers pause; end one of them, or try again", ErrBusy, maxReaders)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn waits for one of the queries that work to end or to pause.
func (l *Log) turn(ctx context.Context) error {
	select {
	case l.queries <- struct{}{}: // the common case, and cheaper alone
		return nil
	default:
	}
	select {
	case l.queries <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
