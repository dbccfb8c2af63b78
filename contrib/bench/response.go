package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// getRequest returns the bytes of a GET as a plain HTTP/1.1 client sends them.
func getRequest(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", path, host)
}

// putRequest returns the head of an upload of size bytes.
func putRequest(host, path string, size int64) []byte {
	return fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Length: %d\r\n\r\n", path, host, size)
}

// head is what the generator needs to know of a response.
type head struct {
	status int
	size   int   // of the head itself, the empty line included
	body   int64 // Content-Length
}

// parseHead reads the head of a response at the start of b. The head's size is 0 as long as
// its end is missing. Only what the upstreams of this benchmark send is understood: a body
// without Content-Length is an error, for it means that a proxy changed the framing.
func parseHead(b []byte) (head, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return head{}, nil
	}
	if end < 12 || !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) {
		return head{}, fmt.Errorf("not a response: %.40q", b)
	}
	status, err := strconv.Atoi(string(b[9:12]))
	if err != nil {
		return head{}, fmt.Errorf("not a response: %.40q", b)
	}
	h := head{status: status, size: end + 4}
	h.body, err = contentLength(b[:end+2])
	return h, err
}

func contentLength(fields []byte) (int64, error) {
	const name = "content-length:"
	for len(fields) > 0 {
		line, rest, _ := bytes.Cut(fields, []byte("\r\n"))
		fields = rest
		if len(line) < len(name) || line[0]|0x20 != 'c' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line[len(name):])), 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("bad length in %q", line)
		}
		return n, nil
	}
	return 0, errors.New("response without Content-Length")
}

// check returns an error for every status but 200.
func (h head) check() error {
	if h.status != 200 {
		return fmt.Errorf("status %d", h.status)
	}
	return nil
}

// readResponse reads one whole response through buf, which must hold its head, and returns
// the length of its body.
func readResponse(r io.Reader, buf []byte) (int64, error) {
	var h head
	have := 0
	for h.size == 0 {
		if have == len(buf) {
			return 0, errors.New("response head too long")
		}
		n, err := r.Read(buf[have:])
		if err != nil {
			return 0, fmt.Errorf("reading response: %w", err)
		}
		have += n
		if h, err = parseHead(buf[:have]); err != nil {
			return 0, err
		}
	}
	if err := h.check(); err != nil {
		return 0, err
	}
	left := h.body - int64(have-h.size)
	for left > 0 {
		n, err := r.Read(buf[:min(left, int64(len(buf)))])
		if err != nil {
			return 0, fmt.Errorf("reading body: %w", err)
		}
		left -= int64(n)
	}
	if left < 0 {
		return 0, errors.New("bytes after the response")
	}
	return h.body, nil
}
