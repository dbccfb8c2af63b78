package rawconn

import "sync"

// BufferSize is the size of the buffers that Buffers lends: the content of one
// full TLS record.
const BufferSize = 16 << 10

// Buffers lends buffers of BufferSize bytes. The zero value is ready for use by
// many goroutines.
type Buffers struct{ pool sync.Pool }

// Get returns a buffer; its content is arbitrary.
func (b *Buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[BufferSize]byte); ok {
		return p[:]
	}
	return new([BufferSize]byte)[:]
}

// Put takes a buffer back. One of another size is left to the garbage collector.
func (b *Buffers) Put(p []byte) {
	if cap(p) == BufferSize {
		b.pool.Put((*[BufferSize]byte)(p[:BufferSize]))
	}
}
