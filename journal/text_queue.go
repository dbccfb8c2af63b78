package journal

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Text writes lines of text, each of one Write, to a file that may be slow: a pipe
// that nobody reads, or a disk that hangs. Write only puts a line into a bounded queue; one
// goroutine writes what waits there. What does not fit is dropped and counted, and once
// there is room again, a line says how many were.
type Text struct {
	to     io.Writer
	queue  journaldQueue
	lost   atomic.Uint64 // lines that could not be written
	ending chan struct{}
	once   sync.Once
}

// OpenText begins to write to a file.
func OpenText(to io.Writer) *Text {
	t := &Text{to: to, ending: make(chan struct{})}
	t.queue.init()
	go t.write()
	return t
}

// Write implements io.Writer. It never blocks and never fails.
func (t *Text) Write(line []byte) (int, error) {
	t.queue.add(priorityInfo, time.Time{}, append([]byte(nil), line...))
	return len(line), nil
}

// Dropped implements Outlet.
func (t *Text) Dropped() uint64 { return t.queue.droppedSoFar() + t.lost.Load() }

// Flush waits until all lines of before are written or dropped, or until ctx ends; it
// then returns ctx's error.
func (t *Text) Flush(ctx context.Context) error { return t.queue.flush(ctx) }

// Close implements Outlet. A write that hangs is left behind.
func (t *Text) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = t.Flush(ctx) // what is not written by then is given up
	t.queue.close()
	t.once.Do(func() { close(t.ending) })
	return nil
}

func (t *Text) write() {
	told := uint64(0)
	for {
		select {
		case <-t.ending:
			return
		case <-t.queue.wake:
		}
		for {
			e, ok := t.queue.take()
			if !ok {
				break
			}
			if n := t.queue.droppedSoFar(); n > told {
				_, err := fmt.Fprintf(t.to, "%d events were dropped, because nobody read them in time\n", n-told)
				if err == nil {
					told = n
				}
			}
			if _, err := t.to.Write(e.data); err != nil {
				t.lost.Add(1)
			}
			t.queue.sent()
		}
	}
}
