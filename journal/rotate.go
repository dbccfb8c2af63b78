package journal

import (
	"errors"
	"fmt"
	"time"
)

// begin makes a new segment, or one that continues the last if that is small.
func (w *writer) begin() error {
	limits := w.l.limits.Load()
	const least = 128 << 10 // of a segment
	w.store.retain(limits.MaxSize, limits.MaxAge, least, false)
	if w.store.bytes()+least > limits.MaxSize {
		return w.noRoom()
	}
	var last *segment
	if n := len(w.store.segments); n > 0 {
		last = w.store.segments[n-1]
	}
	if last != nil && w.continues(last) {
		if err := w.resume(last); err == nil {
			return nil
		} else {
			w.l.o.Log.Debug("continuing a segment of the request log", "segment", last.name(), "error", err)
		}
	}
	number, err := w.store.nextNumber()
	if err != nil {
		return err
	}
	seg := &segment{number: number}
	name := seg.name() + newSuffix
	w.store.remove(name)
	a, err := createActive(w.store.path(name), limits.SegmentSize, w.store.encoder, w.l.o.Now())
	if err != nil {
		w.store.remove(name)
		return err
	}
	return w.place(a, seg, nil, name)
}

func (w *writer) continues(last *segment) bool {
	limits := w.l.limits.Load()
	return last.problem == "" && last.size <= min(adoptLimit, limits.SegmentSize/4) && !w.old(last.created) &&
		w.store.bytes()+copySize(last.size) <= limits.MaxSize
}

func (w *writer) old(created int64) bool {
	age := w.l.o.Now().Sub(time.UnixMicro(created)).Abs() // a clock that was set back counts as well
	return age >= w.l.limits.Load().SegmentAge
}

// resume copies the last segment into a new file and goes on in that: bbolt never opens a
// file that was written before.
func (w *writer) resume(last *segment) error {
	seg := *last
	repair, err := w.store.nextRepair(seg.number)
	if err != nil {
		return err
	}
	seg.repair = repair
	name := seg.name() + newSuffix
	a, left, err := w.store.rewrite(last, name, w.l.limits.Load().SegmentSize)
	if err != nil {
		w.store.remove(name)
		return err
	}
	if left != nil {
		_ = a.close(false) // the copy is of no use
		w.store.remove(name)
		w.store.mend(last, left)
		return left
	}
	if err := w.place(a, &seg, last, name); err != nil {
		return err
	}
	w.store.remove(last.name())
	return nil
}

// place gives a new segment its name and its place in the list, where it may replace old.
func (w *writer) place(a *active, seg, old *segment, name string) error {
	err := rename(w.store.path(name), w.store.path(seg.name()))
	if err == nil {
		err = w.store.sync()
	}
	if err != nil {
		_ = a.close(false) // the error above matters more
		w.store.remove(name)
		return err
	}
	a.path = w.store.path(seg.name())
	_, first := w.l.buffer.pin(0)
	w.l.buffer.unpin()
	seg.own, seg.base = true, int64(first)-int64(a.row)-int64(a.rows)
	if seg.records == 0 {
		seg.created, seg.from, seg.to = w.l.o.Now().UnixMicro(), latest, earliest
	}
	seg.modified = w.l.o.Now()
	seg.size, _ = a.size() // corrected with the next batch
	w.live, w.segment = a, seg
	w.store.drop(old)
	w.store.segments = append(w.store.segments, seg)
	w.setLive(true)
	w.store.show()
	return nil
}

func (w *writer) setLive(live bool) {
	w.l.mu.Lock()
	w.l.live = live
	w.l.mu.Unlock()
}

// rotate closes the segment if it is large or old, and makes the next if records wait.
func (w *writer) rotate() error {
	if w.full() {
		if err := w.seal(); err != nil {
			return err
		}
	}
	return w.ready()
}

func (w *writer) full() bool {
	return w.live != nil && (w.segment.size >= w.l.limits.Load().SegmentSize || w.old(w.segment.created))
}

// seal closes the segment for good.
func (w *writer) seal() error {
	a := w.live
	if err := w.closeUp(); err != nil {
		w.abandon(err)
		return fmt.Errorf("closing a segment of the request log: %w", err)
	}
	next := *w.segment
	if size, err := a.size(); err == nil {
		next.size = size
	}
	w.store.replace(w.segment, &next)
	w.live, w.segment = nil, nil
	w.setLive(false)
	w.store.show()
	return nil
}

// abandon lets go of the segment after an error. What was committed in it stays readable;
// the next one continues it if it is small.
func (w *writer) abandon(why error) {
	if w.live == nil {
		return
	}
	broken := errors.Is(why, errDamaged)
	if broken {
		w.leaks++ // its file stays open
	}
	if err := w.live.close(broken); err != nil {
		w.l.o.Log.Debug("closing a segment of the request log after an error", "error", err)
	}
	seg := w.segment
	w.live, w.segment = nil, nil
	w.setLive(false)
	w.store.inspect(seg)
	w.store.show()
}

// tidy applies the limits.
func (w *writer) tidy() {
	if w.store.lock == nil {
		return
	}
	defer w.disk()()
	if w.full() {
		if err := w.seal(); err != nil {
			w.l.setProblem(err)
		}
	}
	w.store.scanQuarantine()
	w.store.lookAgain()
	w.store.show()
	limits := w.l.limits.Load()
	w.store.retain(limits.MaxSize, limits.MaxAge, 0, w.live != nil)
}

// mend sees to a segment that a query found damaged.
func (w *writer) mend(d damagedReport) {
	defer w.disk()()
	for _, seg := range w.store.segments {
		if seg.number != d.segment.number || seg.repair != d.segment.repair {
			continue
		}
		if seg == w.segment {
			if err := w.seal(); err != nil {
				w.l.setProblem(err)
				return // abandoning it has looked into it
			}
			seg = w.store.segments[len(w.store.segments)-1]
		}
		w.store.mend(seg, d.why)
		return
	}
}
