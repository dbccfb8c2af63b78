package http1

import "strconv"

// AppendRequestLine appends "METHOD target HTTP/1.1" and its CRLF.
func AppendRequestLine(dst, method, target []byte) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	return append(dst, " HTTP/1.1\r\n"...)
}

// AppendStatusLine appends "HTTP/1.1 status reason" and its CRLF.
func AppendStatusLine(dst []byte, status int, reason []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, '\r', '\n')
}

// AppendField appends one field line.
func AppendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendFields appends every field that is not to be dropped.
func AppendFields(dst []byte, fields []Field) []byte {
	for i := range fields {
		if f := &fields[i]; !f.Drop {
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	return dst
}

// AppendFraming appends the field that announces a body's framing, if it needs
// one. length is used for ByLength only.
func AppendFraming(dst []byte, framing Framing, length int64) []byte {
	switch framing {
	case ByLength:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, length, 10)
		dst = append(dst, '\r', '\n')
	case Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return dst
}

// ChunkOverhead is the most that AppendChunk adds to the data.
const ChunkOverhead = 16 + 4

// AppendChunk appends data as one chunk, RFC 9112 7.1. data must not be empty:
// an empty chunk would be the last.
func AppendChunk(dst, data []byte) []byte {
	dst = AppendChunkSize(dst, len(data))
	dst = append(dst, data...)
	return append(dst, '\r', '\n')
}

// AppendChunkSize appends the line before a chunk's data.
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, '\r', '\n')
}

// AppendLastChunk appends the end of a chunked body with its trailers.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, '0', '\r', '\n')
	dst = AppendFields(dst, trailers)
	return append(dst, '\r', '\n')
}
