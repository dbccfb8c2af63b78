package journal

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// An Event is something that happened to the daemon, as it was logged.
type Event struct {
	Seq     uint64 // 1 for the first since the start
	Time    time.Time
	Level   slog.Level
	Message string
	Attrs   []Attr // in the order in which they were given; groups are part of the key: "tls.version"
}

// An Attr is a detail of an event.
type Attr struct{ Key, Value string }

// EventCounts says how many events there were since the start, by level. Levels in
// between count as the next lower one, and all below Info as Debug.
type EventCounts struct{ Debug, Info, Warn, Error uint64 }

const (
	defaultEvents = 512
	maxAttrs      = 64
	maxAttrBytes  = 4096 // of a key, a value or a message; longer ones are cut, and end in "…"
)

// Events is a [slog.Handler] that passes everything on to another and keeps the last
// events in memory. What the other has disabled is not kept. All methods may be called
// from several goroutines.
type Events struct {
	*eventRing
	next   slog.Handler
	prefix string // of keys: the open groups, each with a dot
	attrs  []Attr // given by With
}

type eventRing struct {
	mu      sync.Mutex
	keep    int
	events  []Event // the oldest first, in a ring that begins at seq%keep
	seq     uint64  // of the last one
	counts  EventCounts
	changed chan struct{} // closed with the next event; nil: nobody waits
}

// NewEvents keeps the last events of those that go to next; 512 if keep is not positive.
func NewEvents(next slog.Handler, keep int) *Events {
	if keep <= 0 {
		keep = defaultEvents
	}
	return &Events{eventRing: &eventRing{keep: keep}, next: next}
}

// Enabled implements slog.Handler.
func (e *Events) Enabled(ctx context.Context, level slog.Level) bool {
	return e.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (e *Events) Handle(ctx context.Context, r slog.Record) error {
	event := Event{Time: r.Time, Level: r.Level, Message: bounded(r.Message), Attrs: slices.Clone(e.attrs)}
	r.Attrs(func(a slog.Attr) bool {
		event.Attrs = flatten(event.Attrs, e.prefix, a)
		return true
	})
	e.add(event)
	return e.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (e *Events) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *e
	with.next = e.next.WithAttrs(attrs)
	with.attrs = slices.Clone(e.attrs)
	for _, a := range attrs {
		with.attrs = flatten(with.attrs, e.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (e *Events) WithGroup(name string) slog.Handler {
	if name == "" {
		return e
	}
	with := *e
	with.next = e.next.WithGroup(name)
	with.prefix = e.prefix + name + "."
	return &with
}

// flatten appends a as text; a group becomes its members.
func flatten(to []Attr, prefix string, a slog.Attr) []Attr {
	value := a.Value.Resolve()
	switch {
	case len(to) >= maxAttrs || a.Equal(slog.Attr{}):
		return to
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			to = flatten(to, prefix, member)
		}
		return to
	case value.Kind() == slog.KindTime:
		return append(to, Attr{bounded(prefix + a.Key), value.Time().Format(time.RFC3339Nano)})
	}
	return append(to, Attr{bounded(prefix + a.Key), bounded(value.String())})
}

func bounded(s string) string {
	if len(s) <= maxAttrBytes {
		return s
	}
	return string(appendCut(nil, s, maxAttrBytes))
}

func (r *eventRing) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	e.Seq = r.seq
	if len(r.events) < r.keep {
		r.events = append(r.events, e)
	} else {
		r.events[(r.seq-1)%uint64(r.keep)] = e
	}
	switch {
	case e.Level >= slog.LevelError:
		r.counts.Error++
	case e.Level >= slog.LevelWarn:
		r.counts.Warn++
	case e.Level >= slog.LevelInfo:
		r.counts.Info++
	default:
		r.counts.Debug++
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Counts returns the numbers of events since the start.
func (r *eventRing) Counts() EventCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// Recent returns the last n events that are kept, the oldest first; all if n is not
// positive. Nobody may change their Attrs.
func (r *eventRing) Recent(n int) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n <= 0 || n > len(r.events) {
		n = len(r.events)
	}
	return r.after(r.seq - uint64(n))
}

// after returns what is kept of the events after seq.
func (r *eventRing) after(seq uint64) []Event {
	if oldest := r.seq - uint64(len(r.events)); seq < oldest {
		seq = oldest
	}
	var out []Event
	for ; seq < r.seq; seq++ {
		out = append(out, r.events[seq%uint64(r.keep)])
	}
	return out
}

// Follow calls fn for every event after the one numbered after, those that are kept and
// those to come, until ctx ends or fn returns an error; that error is returned. A
// follower that is slower than events are made misses some: the numbers have a gap, and
// lost says how many they were. fn holds up nobody. A number from before a restart,
// larger than the last event's, stands for the last event.
func (r *eventRing) Follow(ctx context.Context, after uint64, fn func(e Event, lost uint64) error) error {
	for first := true; ; first = false {
		r.mu.Lock()
		if first {
			after = min(after, r.seq)
		}
		events := r.after(after)
		if len(events) == 0 && r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		for _, e := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(e, e.Seq-after-1); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
