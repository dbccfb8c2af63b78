package journal

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A journaldSender takes entries to journald. Only one goroutine uses it.
type journaldSender interface {
	// send returns errBusy, after a while, if the entry could not be sent now but may
	// be later; any other error says that journald cannot take it.
	send(data []byte) error
	// interrupt makes a send that waits return errBusy now. Any goroutine may call it.
	interrupt()
	close()
}

var errBusy = errors.New("journald takes no entries now")

const (
	sayDropped = time.Minute // between two entries that say how many were dropped
	lateAfter  = time.Second // an entry that waited longer says when it happened
)

// send sends what is in the queue, until Close.
func (j *Journald) send(to journaldSender) {
	defer close(j.done)
	defer to.close()
	stopped := make(chan struct{})
	defer func() { <-stopped }() // interrupt is not called after close
	go func() {
		<-j.closing
		to.interrupt()
		close(stopped)
	}()
	say := dropReport{again: time.NewTimer(sayDropped)}
	defer say.again.Stop()
	for {
		select {
		case <-j.closing:
			return
		case <-j.queue.wake:
		case <-say.again.C:
		}
		for {
			if !j.report(to, &say) {
				return
			}
			e, ok := j.queue.take()
			if !ok {
				break
			}
			if time.Since(e.time) > lateAfter && !e.time.IsZero() {
				e.data = appendTime(e.data, e.time)
			}
			sent := j.deliver(to, e.data)
			j.queue.sent()
			if !sent {
				return
			}
		}
	}
}

// deliver sends an entry, however long that takes. It reports false if Close came first.
func (j *Journald) deliver(to journaldSender, data []byte) bool {
	for {
		err := to.send(data)
		if err == nil {
			return true
		}
		if !errors.Is(err, errBusy) {
			j.lost.Add(1)
			return true
		}
		select {
		case <-j.closing:
			j.lost.Add(1)
			return false
		default:
		}
	}
}

// A dropReport knows when to say how many entries were dropped.
type dropReport struct {
	last  time.Time   // zero: never
	again *time.Timer // fires when the next one may be due
	told  uint64      // how many the entries so far have told of
}

// report says how many entries were dropped, if any were, at most once a minute. It
// reports false if Close came first.
func (j *Journald) report(to journaldSender, say *dropReport) bool {
	total := j.Dropped()
	if total == say.told || !say.last.IsZero() && time.Since(say.last) < sayDropped {
		return true
	}
	n := total - say.told
	say.last, say.told = time.Now(), total
	say.again.Reset(sayDropped)
	message := fmt.Sprintf("%d events were dropped, because journald did not take them in time", n)
	return j.deliver(to, encodeEntry(priorityWarning, message, j.ids, []Attr{
		{EventAttr, EventsDropped},
		{"dropped", strconv.FormatUint(n, 10)},
		{"dropped_total", strconv.FormatUint(total, 10)},
	}))
}
