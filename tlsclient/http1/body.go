package http1

import (
	"errors"
	"io"
)

// ErrTruncated says that a body ended before its framing did.
var ErrTruncated = errors.New("the body was cut short")

// What a chunked body may carry beside its data.
const (
	maxChunkExt = 4 << 10 // bytes of extensions, over the whole body
	maxTrailer  = 8 << 10 // bytes of the trailer section
	maxTrailers = 50      // fields of the trailer section

	maxSizeDigits = 15 // of a chunk-size, so that it fits an int64
	maxSizeLine   = maxSizeDigits + maxChunkExt
)

// Body reads a message body from a Reader. Start it with Open.
type Body struct {
	src     *Reader
	framing Framing
	left    int64 // of the body, or of the current chunk
	chunk   chunkState
	ext     int // bytes of extensions so far
	done    bool
	err     *Error // final: what follows broken framing means nothing
	clean   func() bool

	// Trailers are the fields after a chunked body, once Next has returned
	// io.EOF. They are copies, valid until the next Open.
	Trailers []Field
	// DropTrailers marks all trailers to be dropped. Set it after Open, for a
	// message whose Connection field may name some of them, RFC 9110 7.6.1.
	DropTrailers bool
	section      []byte

	// Max bounds the data of a chunked body, in bytes; 0 is no bound. The chunk that
	// would go beyond it is ErrBodyTooLarge. Set it after Open.
	Max  int64
	data int64 // of a chunked body, in the chunks so far
}

// Open starts reading a body. For ByClose, clean tells at the end of the stream
// whether it ended properly; nil means that it always does.
func (b *Body) Open(src *Reader, framing Framing, length int64, clean func() bool) {
	*b = Body{src: src, framing: framing, left: length, clean: clean,
		Trailers: b.Trailers[:0], section: b.section[:0]}
	b.done = framing == NoBody || framing == ByLength && length == 0
	if framing == Chunked {
		b.left = 0
	}
}

// Done reports whether the body has been read to its proper end.
func (b *Body) Done() bool { return b.done }

// Next returns the next bytes of the body, at least one, valid until the Reader
// is used again. It returns io.EOF after the last, ErrTruncated if the stream
// ended too early, an *Error for broken framing, and otherwise what reading
// returned.
func (b *Body) Next() ([]byte, error) {
	for {
		p, err := b.Step()
		if p != nil || err != nil {
			return p, err
		}
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
}

// Step is Next without reading: it returns neither bytes nor an error when more
// must be read first.
func (b *Body) Step() ([]byte, error) {
	switch {
	case b.done:
		return nil, io.EOF
	case b.err != nil:
		return nil, b.err
	case b.framing == Chunked:
		p, err := b.stepChunked()
		if err != nil {
			b.err = err
			return nil, err
		}
		if b.done {
			return nil, io.EOF
		}
		return p, nil
	}
	n := len(b.src.Buffered())
	if b.framing == ByLength {
		n = int(min(int64(n), b.left))
		b.left -= int64(n)
		b.done = b.left == 0
	}
	if n == 0 {
		return nil, nil
	}
	return b.src.Take(n), nil
}

// fill reads more, and turns the end of the stream into what it means here.
func (b *Body) fill() error {
	err := b.src.Fill()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrBufferFull):
		b.err = b.lineTooLong() // nothing else must be in the buffer as a whole
		return b.err
	case !errors.Is(err, io.EOF):
		return err
	case b.framing == ByClose && (b.clean == nil || b.clean()):
		b.done = true
		return io.EOF
	}
	return ErrTruncated
}

// Complete reports whether the whole of what is left of the body is buffered.
// It consumes nothing. Broken framing is not complete.
func (b *Body) Complete() bool {
	switch {
	case b.done:
		return true
	case b.framing == ByLength:
		return int64(len(b.src.Buffered())) >= b.left
	case b.framing == ByClose:
		return false
	}
	return errors.Is(b.look(), io.EOF)
}

// Gather reads until the whole of what is left of a body of known length is buffered,
// behind what stands before it, which stays valid. It does nothing if the length is not
// known, or the buffer too small.
func (b *Body) Gather() error {
	if b.done || b.framing != ByLength || b.left > int64(len(b.src.Buf)) {
		return nil
	}
	for int64(len(b.src.Buffered())) < b.left {
		switch err := b.src.Extend(int(b.left)); {
		case errors.Is(err, ErrBufferFull):
			return nil
		case errors.Is(err, io.EOF):
			return ErrTruncated
		case err != nil:
			return err
		}
	}
	return nil
}

// Broken returns what is wrong with the framing of what is buffered of the body,
// or nil. It consumes nothing.
func (b *Body) Broken() error {
	if err := b.look(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// look steps through what is buffered and goes back: io.EOF is the end of the
// body, nil that more must be read.
func (b *Body) look() error {
	mark := b.Mark()
	for {
		p, err := b.Step()
		if p == nil {
			b.Rewind(mark)
			return err
		}
	}
}

// State is a place in a body to go back to.
type State struct {
	body Body
	r    int
}

// Mark returns the present place. It is good until the Reader reads again.
func (b *Body) Mark() State { return State{body: *b, r: b.src.r} }

// Rewind goes back to a place where nothing has been read since.
func (b *Body) Rewind(s State) {
	// What has grown since is kept: it begins with what there was.
	trailers, section := b.Trailers[:len(s.body.Trailers)], b.section[:len(s.body.section)]
	*b = s.body
	b.Trailers, b.section = trailers, section
	b.src.r = s.r
}
