package http1

import (
	"bytes"
	"io"
)

// chunkState is where in the grammar of RFC 9112 7.1 a chunked body stands.
type chunkState uint8

const (
	chunkSize    chunkState = iota // before a chunk-size line
	chunkData                      // inside chunk-data
	chunkEnd                       // before the CRLF after chunk-data
	chunkTrailer                   // inside the trailer section
)

func (b *Body) stepChunked() ([]byte, error) {
	for {
		switch b.chunk {
		case chunkSize:
			line, err := b.line(maxChunkExt + 16)
			if line == nil || err != nil {
				return nil, err
			}
			if err := b.size(line); err != nil {
				return nil, err
			}
		case chunkData:
			n := int(min(int64(len(b.src.Buffered())), b.left))
			if n == 0 {
				return nil, nil
			}
			if b.left -= int64(n); b.left == 0 {
				b.chunk = chunkEnd
			}
			return b.src.Take(n), nil
		case chunkEnd:
			p := b.src.Buffered()
			if len(p) > 0 && p[0] != '\r' || len(p) > 1 && p[1] != '\n' {
				return nil, errChunk
			}
			if len(p) < 2 {
				return nil, nil
			}
			b.src.Take(2)
			b.chunk = chunkSize
		case chunkTrailer:
			return nil, b.trailer()
		}
	}
}

// line takes one line from the buffer, without its CRLF. It is nil if the line
// is not complete yet.
func (b *Body) line(limit int) ([]byte, error) {
	p := b.src.Buffered()
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		if len(p) > limit {
			return nil, errChunkExt
		}
		return nil, nil
	}
	if end == 0 || p[end-1] != '\r' {
		return nil, errChunk
	}
	return b.src.Take(end + 1)[:end-1], nil
}

// size reads chunk-size and checks, then forgets, its extensions.
func (b *Body) size(line []byte) error {
	digits := 0
	var n int64
	for digits < len(line) {
		v := hexValue(line[digits])
		if v < 0 {
			break
		}
		if digits++; digits > 15 {
			return errChunk
		}
		n = n<<4 | int64(v)
	}
	ext := line[digits:]
	if digits == 0 || len(ext) > 0 && ext[0] != ';' || !all(ext, isValue) {
		return errChunk
	}
	if b.ext += len(ext); b.ext > maxChunkExt {
		return errChunkExt
	}
	b.left, b.chunk = n, chunkData
	if n == 0 {
		b.chunk = chunkTrailer
	}
	return nil
}

// trailer takes lines until the empty one. They are gathered in a copy, since
// the section may be larger than what is left of the buffer.
func (b *Body) trailer() error {
	for {
		line, err := b.line(maxTrailer)
		if err != nil {
			return err
		}
		if line == nil {
			if len(b.src.Buffered()) > maxTrailer {
				return errTrailerLarge
			}
			return nil
		}
		if len(b.section)+len(line)+4 > maxTrailer {
			return errTrailerLarge
		}
		b.section = append(append(b.section, line...), '\r', '\n')
		if len(line) == 0 {
			return b.parseTrailers()
		}
	}
}

func (b *Body) parseTrailers() error {
	b.done = true
	var err *Error
	b.Trailers, err = parseFields(b.Trailers[:0], b.section, maxTrailers)
	if err != nil {
		return errTrailerFields
	}
	for i := range b.Trailers {
		f := &b.Trailers[i]
		f.Drop = !allowedInTrailer(f)
	}
	return io.EOF
}

// allowedInTrailer refuses what would change the meaning of the message if a
// reader merged it into the head, RFC 9110 6.5.1.
func allowedInTrailer(f *Field) bool {
	if f.ID != Other {
		return false
	}
	switch len(f.Name) {
	case 3:
		return !EqualFold(f.Name, "age")
	case 4:
		return !EqualFold(f.Name, "vary") && !EqualFold(f.Name, "date")
	case 6:
		return !EqualFold(f.Name, "cookie") && !EqualFold(f.Name, "pragma")
	case 10:
		return !EqualFold(f.Name, "set-cookie")
	}
	for _, name := range []string{"authorization", "cache-control", "content-encoding", "content-type",
		"content-range", "expires", "location", "range", "retry-after", "www-authenticate"} {
		if EqualFold(f.Name, name) {
			return false
		}
	}
	return true
}
