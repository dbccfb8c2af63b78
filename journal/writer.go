package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A writer is the goroutine that alone changes the files.
type writer struct {
	l        *Log
	store    *store
	live     *active  // nil: none is open
	segment  *segment // of live; the last in the store's list
	leaks    int
	failing  bool
	deadline time.Time // when what waits must be committed; zero: nothing waits
}

// write runs the writer until Close.
func (l *Log) write() {
	defer close(l.done)
	w := &writer{l: l}
	if err := w.prepare(); err != nil {
		l.setProblem(err)
		close(l.looked)
		<-l.stop
		return
	}
	defer w.store.close()
	w.commit() // opens the directory, so that the log can be read
	close(l.looked)
	w.run()
	w.finish()
}

func (w *writer) prepare() error {
	e, err := newEncoder(true)
	if err != nil {
		return err
	}
	z, err := newUnpacker()
	if err != nil {
		return err
	}
	w.store = &store{
		dir: w.l.o.Directory, log: w.l.o.Log, now: w.l.o.Now,
		encoder: e, decoder: &decoder{zstd: z}, publish: w.l.publish,
		maxSize: func() int64 { return w.l.limits.Load().MaxSize },
	}
	return nil
}

func (w *writer) run() {
	flush := time.NewTimer(tidyEvery)
	flush.Stop()
	defer flush.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	for {
		if w.deadline.IsZero() {
			flush.Stop()
		} else {
			flush.Reset(time.Until(w.deadline))
		}
		select {
		case <-w.l.stop:
			return
		case <-w.l.buffer.wake:
			if w.failing {
				break // the next try is set
			}
			if w.l.buffer.crowded() {
				w.commit()
			} else if w.deadline.IsZero() {
				w.deadline = time.Now().Add(w.l.o.flushAfter)
			}
		case <-flush.C:
			w.commit()
		case <-tidy.C:
			w.tidy()
		case <-w.l.changed:
			w.tidy()
		case d := <-w.l.damaged:
			w.mend(d)
		}
	}
}

// disk notes that the writer turns to the disk, until the returned function is called,
// and says so if that takes long. Within it, it notes nothing new.
func (w *writer) disk() (done func()) {
	begun := time.Now()
	if !w.l.disk.CompareAndSwap(0, begun.UnixNano()) {
		return func() {}
	}
	o := &w.l.o
	complaint := time.AfterFunc(slowDisk, func() {
		o.Log.Error("the request log cannot be written; requests are served without", "event", "log_failing", "directory", o.Directory, "error", diskIsSlow(begun, o.Directory))
	})
	return func() {
		w.l.disk.Store(0)
		if !complaint.Stop() {
			o.Log.Info("the disk of the request log answers again", "event", "log_healed", "directory", o.Directory, "dropped", w.l.buffer.usage().dropped)
		}
	}
}

// commit writes what waits, and sets the time for what comes.
func (w *writer) commit() {
	start := time.Now()
	err := w.step()
	w.failing = err != nil
	w.l.setProblem(err)
	u := w.l.buffer.usage()
	switch {
	case err != nil:
		w.deadline = time.Now().Add(retryAfter)
	case u.waiting > 0:
		w.deadline = start.Add(w.l.o.flushAfter)
	default:
		w.deadline = time.Time{}
	}
}

// errDirectoryGone is why a segment is given up that was removed.
var errDirectoryGone = errors.New("the directory of the request log was removed")

// step writes until nothing waits that was there when it began.
func (w *writer) step() error {
	defer w.disk()()
	if !w.store.held() { // somebody has removed the directory, or put another in its place
		w.abandon(errDirectoryGone)
		w.store.close()
	}
	if err := w.rotate(); err != nil {
		return err
	}
	end := w.l.buffer.usage().accepted
	for {
		first, err := w.batch()
		if err != nil {
			w.abandon(err)
			return fmt.Errorf("writing the request log: %w", err)
		}
		if first >= end {
			return nil
		}
		if err := w.rotate(); err != nil {
			return err
		}
	}
}

// ready opens what is not open: the directory, and a segment to write if records wait.
func (w *writer) ready() error {
	if w.store.lock == nil {
		if err := w.store.open(); err != nil {
			return err
		}
		w.tidy()
	}
	if w.live == nil && w.l.buffer.usage().waiting > 0 {
		if w.leaks >= maxLeaks {
			return errors.New("writing the request log failed too often in ways that cannot be cleaned up; restart mtlsproxyd")
		}
		if err := w.begin(); err != nil {
			return fmt.Errorf("making a segment of the request log: %w", err)
		}
	}
	return nil
}

// batch commits a part of what waits, and returns how many records were taken in before
// what then still waits.
func (w *writer) batch() (uint64, error) {
	limits := w.l.limits.Load()
	room := int(min(limits.SegmentSize/4, w.l.o.Buffer))
	views, first := w.l.buffer.pin(room)
	defer w.l.buffer.unpin()
	if len(views) == 0 || w.live == nil { // they came just now
		return first, nil
	}
	raw, records := 0, 0
	next := *w.segment
	for _, v := range views {
		raw += len(v.data)
		records += v.records
		for r, rest := nextRaw(v.data); ; r, rest = nextRaw(rest) {
			t := int64(binary.LittleEndian.Uint64(r[2:]))
			next.from, next.to = min(next.from, t), max(next.to, t)
			if len(rest) == 0 {
				break
			}
		}
	}
	w.live.maxRaw = blockSize(limits.SegmentSize)
	if !w.makeRoom(w.live.growth(raw, records)) {
		if w.segment.records == 0 {
			return 0, w.noRoom()
		}
		return first, w.seal() // the next one begins small
	}
	if err := w.live.add(views); err != nil {
		return 0, err
	}
	size, err := w.live.size()
	if err != nil {
		return 0, err
	}
	next.records += int64(records)
	next.size, next.modified = size, w.l.o.Now()
	// First the segment tells that it holds them, then the buffer forgets them: no query
	// misses them.
	w.store.replace(w.segment, &next)
	w.segment = &next
	w.store.show()
	w.l.buffer.written(views)
	w.l.mu.Lock()
	w.l.written += uint64(records)
	w.l.mu.Unlock()
	return first + uint64(records), nil
}

// finish writes what waits at the end.
func (w *writer) finish() {
	defer w.disk()()
	err := w.step()
	if w.live != nil {
		err = errors.Join(err, w.live.close(false))
		w.live = nil
	}
	if n := w.l.buffer.usage().waiting; n > 0 {
		err = fmt.Errorf("closing the request log: %d records are lost: %w", n, w.l.o.advise(err))
	}
	w.l.mu.Lock()
	w.l.lost = err
	w.l.mu.Unlock()
}
