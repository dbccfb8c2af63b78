package http1

import (
	"errors"
	"io"
)

// ErrBufferFull says that a Reader's buffer has no room for what must be in it
// at one time.
var ErrBufferFull = errors.New("buffer is full")

// Reader is a window of bytes read from a connection, for one goroutine. Heads
// and bodies are taken from the same Reader in turn.
type Reader struct {
	// Src is where more bytes come from.
	Src io.Reader
	// Buf is the storage. It may be replaced while the Reader is Empty.
	Buf  []byte
	r, w int
}

// Reset makes the Reader hold the first n bytes of buf.
func (r *Reader) Reset(buf []byte, n int) { r.Buf, r.r, r.w = buf, 0, n }

// Buffered returns the bytes that were read and not yet taken.
func (r *Reader) Buffered() []byte { return r.Buf[r.r:r.w] }

// Empty reports whether nothing is buffered.
func (r *Reader) Empty() bool { return r.r == r.w }

// Take consumes n buffered bytes and returns them. They stay valid until the
// next Fill.
func (r *Reader) Take(n int) []byte {
	b := r.Buf[r.r : r.r+n]
	r.r += n
	return b
}

// Fill reads once, making room first by moving what is buffered to the front.
// It returns ErrBufferFull when there is none to make.
func (r *Reader) Fill() error {
	if r.r > 0 {
		r.w = copy(r.Buf, r.Buf[r.r:r.w])
		r.r = 0
	}
	if r.w == len(r.Buf) {
		return ErrBufferFull
	}
	n, err := r.Src.Read(r.Buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Extend reads once behind what is buffered, and moves nothing: what was taken stays valid.
// It returns ErrBufferFull if there is no room for n bytes in all.
func (r *Reader) Extend(n int) error {
	if n > len(r.Buf)-r.r {
		return ErrBufferFull
	}
	m, err := r.Src.Read(r.Buf[r.w:])
	r.w += m
	if m > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Grow replaces the storage by one of n bytes, keeping what is buffered, and
// returns the old one.
func (r *Reader) Grow(n int) (old []byte) {
	old = r.Buf
	grown := make([]byte, n)
	r.w = copy(grown, old[r.r:r.w])
	r.r = 0
	r.Buf = grown
	return old
}
