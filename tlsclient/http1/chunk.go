package http1

import "bytes"

// chunkState is where in the grammar of RFC 9112 7.1 a chunked body stands.
type chunkState uint8

const (
	chunkSize    chunkState = iota // before a chunk-size line
	chunkData                      // inside chunk-data
	chunkEnd                       // before the CRLF after chunk-data
	chunkTrailer                   // inside the trailer section
)

// stepChunked returns the next data, or nil if the body is done or more must be
// read first.
func (b *Body) stepChunked() ([]byte, *Error) {
	for {
		switch b.chunk {
		case chunkSize:
			line, err := b.line(maxSizeLine)
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

// line takes one line of at most limit bytes from the buffer, without its CRLF.
// It is nil if the line is not complete yet.
func (b *Body) line(limit int) ([]byte, *Error) {
	p := b.src.Buffered()
	end := bytes.IndexByte(p, '\n')
	switch {
	case end < 0 && len(p) <= limit+1:
		return nil, nil
	case end < 0 || end > limit+1:
		return nil, b.lineTooLong()
	case end == 0 || p[end-1] != '\r':
		return nil, errChunk
	}
	return b.src.Take(end + 1)[:end-1], nil
}

func (b *Body) lineTooLong() *Error {
	if b.chunk == chunkTrailer {
		return errTrailerLarge
	}
	return errChunkExt
}

// size reads chunk-size and checks, then forgets, its extensions. White space
// before them is refused: it is of no use, and some readers stop there.
func (b *Body) size(line []byte) *Error {
	digits := 0
	var n int64
	for digits < len(line) && class[line[digits]]&isHex != 0 {
		if digits == maxSizeDigits {
			return errChunk
		}
		n = n<<4 | int64(hexValue(line[digits]))
		digits++
	}
	ext := line[digits:]
	if digits == 0 || len(ext) > 0 && ext[0] != ';' || !all(ext, isValue) {
		return errChunk
	}
	if b.ext += len(ext); b.ext > maxChunkExt {
		return errChunkExt
	}
	if b.Max > 0 && n > b.Max-b.data {
		return ErrBodyTooLarge
	}
	b.data += n
	b.left, b.chunk = n, chunkData
	if n == 0 {
		b.chunk = chunkTrailer
	}
	return nil
}

// trailer takes lines until the empty one. They are gathered in a copy, since
// the section may be larger than what is left of the buffer.
func (b *Body) trailer() *Error {
	for {
		line, err := b.line(maxTrailer)
		if line == nil || err != nil {
			return err
		}
		if len(line) == 0 {
			return b.parseTrailers()
		}
		if len(b.section)+len(line)+len("\r\n") > maxTrailer {
			return errTrailerLarge
		}
		b.section = append(append(b.section, line...), '\r', '\n')
	}
}

func (b *Body) parseTrailers() *Error {
	if len(b.section) > 0 {
		var err *Error
		b.section = append(b.section, '\r', '\n')
		b.Trailers, err = parseFields(b.Trailers[:0], b.section, maxTrailers)
		if err != nil {
			return errTrailerFields
		}
	}
	for i := range b.Trailers {
		f := &b.Trailers[i]
		f.Drop = b.DropTrailers || !allowedInTrailer(f)
	}
	b.done = true
	return nil
}

// notInTrailers are fields beside the known ones that would change the meaning of
// a message if a reader merged them into its head, RFC 9110 6.5.1: what controls
// caches, conditions, ranges, credentials, redirection and the reading of content.
var notInTrailers = []string{
	"age", "authorization", "cache-control", "content-encoding", "content-location", "content-range",
	"content-type", "cookie", "date", "expires", "location", "pragma", "range", "retry-after", "set-cookie",
	"vary", "warning", "www-authenticate",
}

func allowedInTrailer(f *Field) bool {
	if f.ID != Other || len(f.Name) > 3 && Alike(f.Name[:3], "if-") {
		return false
	}
	for _, name := range notInTrailers {
		if Alike(f.Name, name) {
			return false
		}
	}
	return true
}
