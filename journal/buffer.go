package journal

import (
	"runtime"
	"sync"
	"syscall"
)

// chunkSize is what the buffer is divided into. Many records fit, and an idle daemon
// touches one or two.
const chunkSize = 64 << 10

// A buffer holds the records that are not yet on disk. Its memory is reserved at once
// and never grows; the pages of it that were never needed cost nothing.
//
// Only the length of the last chunk grows, so what lies below it can be read without the
// mutex, as long as the chunk is not handed out again: pins forbid that.
type buffer struct {
	wake chan struct{} // capacity 1: the first record after none, or too many

	mu      sync.Mutex
	free    [][]byte // the last given back is the next to use: it is still in the cache
	chunks  []chunk  // oldest first; records are added to the last
	limbo   [][]byte // given back while somebody reads
	pins    int
	accept  uint64 // records taken in, ever
	waiting int    // of them, those not yet written
	dropped uint64
	closed  bool
	half    int // with so many chunks in use the writer is woken early
}

type chunk struct {
	data    []byte
	start   int // what lies before is on disk
	records int // from there on
}

// A view is a part of the buffer: raw records, one after another.
type view struct {
	data    []byte
	records int
}

func newBuffer(size int64) *buffer {
	n := max(int(size/chunkSize), 4)
	b := &buffer{
		wake:   make(chan struct{}, 1),
		free:   make([][]byte, 0, n),
		limbo:  make([][]byte, 0, n),
		chunks: make([]chunk, 0, n),
		half:   n / 2,
	}
	all := reserve(b, n*chunkSize)
	for i := range n {
		b.free = append(b.free, all[i*chunkSize:i*chunkSize:(i+1)*chunkSize])
	}
	return b
}

// reserve returns memory for as long as b lives. It is not of the Go heap: the
// collector lets that grow to twice what is in use, and would count this as in use.
func reserve(b *buffer, n int) []byte {
	all, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	runtime.AddCleanup(b, func(all []byte) { _ = syscall.Munmap(all) }, all) // nobody is left to be told
	return all
}

// add keeps a copy of r, or counts it as dropped.
func (b *buffer) add(r *Record) {
	need := rawBound(r)
	b.mu.Lock()
	last := len(b.chunks) - 1
	full := last < 0 || cap(b.chunks[last].data)-len(b.chunks[last].data) < need
	if b.closed || full && len(b.free) == 0 {
		b.dropped++
		b.mu.Unlock()
		return
	}
	signal := b.waiting == 0
	if full {
		last++
		b.chunks = append(b.chunks, chunk{data: b.free[len(b.free)-1]})
		b.free = b.free[:len(b.free)-1]
		signal = signal || len(b.chunks) >= b.half
	}
	c := &b.chunks[last]
	c.data = appendRaw(c.data, r)
	c.records++
	b.accept++
	b.waiting++
	b.mu.Unlock()
	if signal {
		select {
		case b.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// pin returns what waits, up to about limit bytes, and the number of records taken in
// before it. It stays readable until unpin.
func (b *buffer) pin(limit int) (views []view, first uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pins++
	for i := range b.chunks {
		c := &b.chunks[i]
		if c.records > 0 {
			views = append(views, view{c.data[c.start:], c.records})
			limit -= len(c.data) - c.start
		}
		if limit <= 0 {
			break
		}
	}
	return views, b.accept - uint64(b.waiting)
}

func (b *buffer) unpin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pins--
	if b.pins == 0 {
		b.free = append(b.free, b.limbo...)
		b.limbo = b.limbo[:0]
	}
}

// written gives back the room of the views, which must be the oldest.
func (b *buffer) written(views []view) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := 0
	for i, v := range views {
		c := &b.chunks[i]
		c.start += len(v.data)
		c.records -= v.records
		b.waiting -= v.records
		if c.records == 0 { // otherwise it has grown since
			gone++
		}
	}
	for _, c := range b.chunks[:gone] {
		b.limbo = append(b.limbo, c.data[:0])
	}
	b.chunks = append(b.chunks[:0], b.chunks[gone:]...)
	if b.pins == 0 {
		b.free = append(b.free, b.limbo...)
		b.limbo = b.limbo[:0]
	}
}

// close makes add drop whatever comes.
func (b *buffer) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
}

// usage is what Stats tells of the buffer.
type usage struct {
	accepted, dropped uint64
	waiting           int
	bytes             int64
	oldest            int64 // when the oldest that waits had ended, microseconds; 0: none waits
}

func (b *buffer) usage() usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := usage{accepted: b.accept, dropped: b.dropped, waiting: b.waiting}
	for i := range b.chunks {
		c := &b.chunks[i]
		u.bytes += int64(len(c.data) - c.start)
		if u.oldest == 0 && c.records > 0 {
			var n numbers
			var t texts
			raw, _ := nextRaw(c.data[c.start:])
			if readRaw(raw, &n, &t) == nil {
				u.oldest = n[nTime] + n[nFirstByte] + n[nRest]
			}
		}
	}
	return u
}

// crowded reports whether half of the buffer is in use.
func (b *buffer) crowded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.chunks) >= b.half
}
