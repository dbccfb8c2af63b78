package tlsclient

import (
	"sync/atomic"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// replaySize is the most that is kept of a body for another attempt.
const replaySize = 64 << 10

// Memory is a budget that upstreams share with others. Acquire takes so many bytes, or
// none of them and returns false. Both may be called by several goroutines.
type Memory interface {
	Acquire(bytes int64) bool
	Release(bytes int64)
}

// replay is a copy of a request's body, taken while it is sent for the first time. The
// goroutine that sends it has it until it is done.
type replay struct {
	buffers *rawconn.Buffers
	memory  Memory // nil: any amount
	wanted  bool
	over    atomic.Bool // there is more than is kept, or no memory for it
	whole   bool        // it is all here
	head    []byte      // as it was sent: the body overwrites what it was made of

	pieces [replaySize / rawconn.BufferSize][]byte
	size   int
}

// again appends the head of req to out. For another attempt it is that of the first:
// the fields of the request lie where its body has been read into since.
func (r *replay) again(req *Request, out []byte) []byte {
	switch {
	case !r.wanted:
		return req.appendHead(out)
	case len(r.head) == 0:
		r.head = req.appendHead(r.head)
	}
	return append(out, r.head...)
}

// add copies p, unless it is too much.
func (r *replay) add(p []byte) {
	if !r.wanted || r.over.Load() {
		return
	}
	if r.size+len(p) > replaySize {
		r.over.Store(true)
		return
	}
	for len(p) > 0 {
		piece := &r.pieces[r.size/rawconn.BufferSize]
		if *piece == nil {
			if r.memory != nil && !r.memory.Acquire(rawconn.BufferSize) {
				r.over.Store(true) // the request goes on without
				return
			}
			*piece = r.buffers.Get()
		}
		n := copy((*piece)[r.size%rawconn.BufferSize:], p)
		r.size += n
		p = p[n:]
	}
}

// from returns the bytes from i on, as far as they are in one piece.
func (r *replay) from(i int) []byte {
	if i >= r.size {
		return nil
	}
	at := i % rawconn.BufferSize
	return r.pieces[i/rawconn.BufferSize][at:min(rawconn.BufferSize, at+r.size-i)]
}

// free gives the storage back.
func (r *replay) free() {
	for i, p := range r.pieces {
		if p != nil {
			r.buffers.Put(p)
			r.pieces[i] = nil
			if r.memory != nil {
				r.memory.Release(rawconn.BufferSize)
			}
		}
	}
	r.size, r.whole, r.head = 0, false, r.head[:0]
}
