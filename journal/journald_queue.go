package journal

import (
	"context"
	"sync"
	"time"
)

const (
	maxWaiting      = 4096    // entries in the queue
	maxWaitingBytes = 8 << 20 // of their data
)

// A waitingEntry is one that is yet to be sent.
type waitingEntry struct {
	number   uint64
	priority priority
	time     time.Time
	data     []byte
}

// A journaldQueue holds entries between those who log and the one goroutine that sends.
// It keeps their order. When it is full, the least severe go first, of these the oldest.
type journaldQueue struct {
	wake chan struct{} // has an element if there may be something to send

	mu      sync.Mutex
	byPrio  [priorityDebug + 1][]waitingEntry // each in order
	entries int
	bytes   int
	number  uint64 // of the last one that was added
	sending uint64 // number of the one that is being sent; 0: none
	dropped uint64
	closed  bool
	moved   chan struct{} // closed when anything is sent or dropped; nil: nobody waits
}

func (q *journaldQueue) init() { q.wake = make(chan struct{}, 1) }

// add appends an entry, or drops what is least severe of it and those that wait.
func (q *journaldQueue) add(p priority, at time.Time, data []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.dropped++
		return
	}
	q.number++
	q.byPrio[p] = append(q.byPrio[p], waitingEntry{number: q.number, priority: p, time: at, data: data})
	q.entries++
	q.bytes += len(data)
	for q.entries > maxWaiting || q.bytes > maxWaitingBytes {
		q.dropOne()
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *journaldQueue) dropOne() {
	for p := priorityDebug; p >= 0; p-- {
		if len(q.byPrio[p]) > 0 {
			q.remove(p)
			q.dropped++
			q.tellMoved()
			return
		}
	}
}

// remove takes the oldest of a priority out.
func (q *journaldQueue) remove(p priority) waitingEntry {
	e := q.byPrio[p][0]
	q.byPrio[p][0].data = nil // what is left of the array must not keep it alive
	q.byPrio[p] = q.byPrio[p][1:]
	if len(q.byPrio[p]) == 0 {
		q.byPrio[p] = nil // a flood's array goes with the flood
	}
	q.entries--
	q.bytes -= len(e.data)
	return e
}

// take returns the oldest entry, to be sent. sent must follow.
func (q *journaldQueue) take() (e waitingEntry, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := priority(-1)
	for p := range q.byPrio {
		if len(q.byPrio[p]) > 0 && (oldest < 0 || q.byPrio[p][0].number < q.byPrio[oldest][0].number) {
			oldest = priority(p)
		}
	}
	if oldest < 0 {
		return waitingEntry{}, false
	}
	e = q.remove(oldest)
	q.sending = e.number
	return e, true
}

// sent ends what take began.
func (q *journaldQueue) sent() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending = 0
	q.tellMoved()
}

func (q *journaldQueue) tellMoved() {
	if q.moved != nil {
		close(q.moved)
		q.moved = nil
	}
}

// reaches reports whether any entry up to number is still to be sent.
func (q *journaldQueue) reaches(number uint64) bool {
	if q.sending != 0 && q.sending <= number {
		return true
	}
	for _, waiting := range q.byPrio {
		if len(waiting) > 0 && waiting[0].number <= number {
			return true
		}
	}
	return false
}

func (q *journaldQueue) flush(ctx context.Context) error {
	q.mu.Lock()
	last := q.number
	for q.reaches(last) {
		if q.moved == nil {
			q.moved = make(chan struct{})
		}
		moved := q.moved
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
		q.mu.Lock()
	}
	q.mu.Unlock()
	return nil
}

// close gives up what waits and takes nothing more. It reports whether it was open.
func (q *journaldQueue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	for q.entries > 0 {
		q.dropOne()
	}
	return true
}

func (q *journaldQueue) droppedSoFar() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
