package journal

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// JournaldSocket is where journald takes entries, systemd-journald.service(8).
const JournaldSocket = "/run/systemd/journal/socket"

// Journald sends events to journald, in its native protocol. Handlers only put an entry
// into a bounded queue; one goroutine sends what waits there. So no event waits for
// journald, stopped or not: what does not fit is dropped, the least severe first, and
// counted. Once a minute at most, an entry of its own says how many were dropped.
//
// All methods may be called from several goroutines, and on nil: whoever logs elsewhere
// has nothing to send, to drop or to close.
type Journald struct {
	queue   journaldQueue
	ids     map[string]string // MESSAGE_ID of each event
	lost    atomic.Uint64     // entries that were taken from the queue, but that journald cannot take
	closing chan struct{}
	done    chan struct{} // closed when nothing more is sent
}

// OpenJournald begins to send to the socket at path. It fails if nobody listens there.
func OpenJournald(path string) (*Journald, error) {
	s, err := dialJournald(path)
	if err != nil {
		return nil, err
	}
	return newJournald(s), nil
}

// awaitJournald is OpenJournald, but what is sent waits until somebody listens there.
func awaitJournald(path string) *Journald {
	return newJournald(&journaldSocket{path: path, ending: make(chan struct{})})
}

func newJournald(to journaldSender) *Journald {
	j := &Journald{ids: messageIDs(), closing: make(chan struct{}), done: make(chan struct{})}
	j.queue.init()
	go j.send(to)
	return j
}

// Dropped returns how many events were not sent since the start.
func (j *Journald) Dropped() uint64 {
	if j == nil {
		return 0
	}
	return j.queue.droppedSoFar() + j.lost.Load()
}

// Flush waits until all events that were logged before are sent or dropped, or until ctx
// ends; it then returns ctx's error.
func (j *Journald) Flush(ctx context.Context) error {
	if j == nil {
		return nil
	}
	return j.queue.flush(ctx)
}

// closeTime is how long Close lets what waits be sent.
const closeTime = time.Second

// Close sends what waits, for a second at most, and gives up the rest: it then counts as
// dropped, as does what is logged afterwards.
func (j *Journald) Close() error {
	if j == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = j.Flush(ctx) // what is not sent by then is given up
	if j.queue.close() {
		close(j.closing)
	}
	<-j.done
	return nil
}

// Handler returns a handler that sends events of level and above, of Info if level is
// nil. Attributes become fields named MTLS_ and the key in capitals, members of groups
// with the group's name before theirs; a top-level attribute "event" that is one of
// [Messages] gives the entry its MESSAGE_ID.
func (j *Journald) Handler(level slog.Leveler) slog.Handler {
	if level == nil {
		level = slog.LevelInfo
	}
	return &journaldHandler{journald: j, level: level}
}

// A journaldHandler makes entries of events.
type journaldHandler struct {
	journald *Journald
	level    slog.Leveler
	prefix   string // of keys: the open groups, each with a dot
	attrs    []Attr // given by With
}

// Enabled implements slog.Handler.
func (h *journaldHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle implements slog.Handler. It never blocks and never fails.
func (h *journaldHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = flattenTo(attrs, h.prefix, a, maxFieldBytes)
		return true
	})
	p := priorityOf(r.Level)
	h.journald.queue.add(p, r.Time, encodeEntry(p, r.Message, h.journald.ids, attrs))
	return nil
}

// WithAttrs implements slog.Handler.
func (h *journaldHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		with.attrs = flattenTo(with.attrs, h.prefix, a, maxFieldBytes)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *journaldHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix = h.prefix + name + "."
	return &with
}
