package journal

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flushAfter is how long a record waits at most before its batch is committed. A
	// commit costs two syncs of the disk.
	flushAfter = 500 * time.Millisecond

	retryAfter   = time.Second     // after an error of the disk
	tidyEvery    = time.Minute     // age limits are looked at so often
	closeTimeout = 5 * time.Second // for what is still to be written
	maxQueries   = 4               // that work at one time; more wait
	maxReaders   = 16              // queries that work, wait or have their reader work
	busyAfter    = 2 * time.Second // a query waits so long for its place among the readers
	minSize      = 4 << 20         // a MaxSize below cannot be kept
	minSegment   = 64 << 10        // a SegmentSize below would make very many
	minBuffer    = 4 * chunkSize   // a Buffer below is of no use
	maxLeaks     = 8               // see writer.abandon
	adoptLimit   = 4 << 20         // a segment up to this size is continued after a restart
	maxFollowers = 16              // at one time
	followEvery  = 200 * time.Millisecond
	followBehind = 100_000 // records a follower may be behind
)

// Options say where and how much to keep. Zero values stand for the defaults.
type Options struct {
	Directory   string
	SegmentSize int64         // bytes; a segment is closed when it is larger; default 64 MiB, at most a quarter of MaxSize
	SegmentAge  time.Duration // a segment is closed when it is older; default 24 hours
	MaxSize     int64         // bytes of all files together; default 1 GiB, at least 4 MiB
	MaxAge      time.Duration // segments whose records are all older are deleted; default: never
	Buffer      int64         // bytes of memory for records not yet written; default 8 MiB
	Systemd     bool          // it has started this process: its sandbox may keep Directory from being written
	Log         *slog.Logger  // nil: silent
	Now         func() time.Time

	flushAfter time.Duration // for tests: shorter than flushAfter
}

// Limits are the options that can be changed while the log is in use.
type Limits struct {
	SegmentSize, MaxSize int64
	SegmentAge, MaxAge   time.Duration
}

func (o *Options) defaults() {
	if o.Buffer == 0 {
		o.Buffer = 8 << 20
	}
	o.Buffer = max(o.Buffer, minBuffer)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.flushAfter == 0 {
		o.flushAfter = flushAfter
	}
}

func (l Limits) effective() Limits {
	if l.SegmentSize <= 0 {
		l.SegmentSize = 64 << 20
	}
	if l.SegmentAge <= 0 {
		l.SegmentAge = 24 * time.Hour
	}
	if l.MaxSize <= 0 {
		l.MaxSize = 1 << 30
	}
	l.MaxSize = max(l.MaxSize, minSize)
	l.SegmentSize = min(max(l.SegmentSize, minSegment), l.MaxSize/4)
	return l
}

// A Log is a request log. All its methods may be called from several goroutines.
type Log struct {
	o       Options
	buffer  *buffer
	limits  atomic.Pointer[Limits]
	changed chan struct{}      // capacity 1: the limits are new
	damaged chan damagedReport // from queries to the writer
	readers chan struct{}      // one for each query
	queries chan struct{}      // one for each that works
	follows atomic.Int64       // followers that are there
	stop    chan struct{}
	done    chan struct{}
	disk    atomic.Int64  // since when the writer is with the disk, nanoseconds; 0: it is not
	looked  chan struct{} // closed when the directory was opened for the first time, or could not be
	once    sync.Once

	mu          sync.RWMutex
	segments    []*segment // oldest first; the last may be the one that is being written
	live        bool       // it is
	opened      bool       // the directory was read
	quarantined []Quarantined
	written     uint64
	problem     error
	lost        error // what could not be written on closing
}

type damagedReport struct {
	segment *segment
	why     error
}

// Open starts a log. It does not touch the disk: the writer does, and its troubles stand
// in Stats and in o.Log, while it tries again every second.
func Open(o Options) *Log {
	o.defaults()
	l := &Log{
		o:       o,
		buffer:  newBuffer(o.Buffer),
		changed: make(chan struct{}, 1),
		damaged: make(chan damagedReport, 16),
		readers: make(chan struct{}, maxReaders),
		queries: make(chan struct{}, maxQueries),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		looked:  make(chan struct{}),
	}
	l.Resize(Limits{SegmentSize: o.SegmentSize, MaxSize: o.MaxSize, SegmentAge: o.SegmentAge, MaxAge: o.MaxAge})
	go l.write()
	return l
}

// Add keeps a copy of r. It costs some hundred nanoseconds, allocates nothing and never
// waits for the disk; when the buffer is full, the record is dropped and counted.
func (l *Log) Add(r *Record) { l.buffer.add(r) }

// Resize changes the limits in place. Files beyond the new ones are deleted soon after.
func (l *Log) Resize(limits Limits) {
	limits = limits.effective()
	l.limits.Store(&limits)
	select {
	case l.changed <- struct{}{}:
	default: // the writer will look anyway
	}
}

// Close writes what waits, for at most five seconds, and ends the log. Records added
// after it are dropped.
func (l *Log) Close() error {
	l.once.Do(func() {
		l.buffer.close()
		close(l.stop)
	})
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-l.done:
		l.mu.RLock()
		defer l.mu.RUnlock()
		return l.lost
	case <-timer.C:
		return fmt.Errorf("closing the request log %q: the disk did not answer within %v; up to %d records are lost",
			l.o.Directory, closeTimeout, l.buffer.usage().waiting)
	}
}
