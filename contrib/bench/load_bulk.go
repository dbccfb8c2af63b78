package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// bulk moves big bodies, one connection per goroutine.
type bulk struct {
	spec  loadSpec
	conns []net.Conn
}

const bulkBuffer = 256 << 10

func newBulk(spec loadSpec) (*bulk, error) {
	b := &bulk{spec: spec}
	for range spec.Conns {
		conn, err := net.Dial("tcp", spec.Addr)
		if err != nil {
			return nil, fmt.Errorf("connecting: %w", err)
		}
		b.conns = append(b.conns, conn)
	}
	return b, nil
}

// warmUp moves one body per connection, which also brings the file into the page cache.
func (b *bulk) warmUp() (requests int64, err error) {
	_, err = b.all(1)
	return int64(len(b.conns)), err
}

func (b *bulk) run() (loadResult, error) {
	start := time.Now()
	bytes, err := b.all(b.spec.Requests)
	return loadResult{
		Requests: int64(b.spec.Requests * len(b.conns)),
		Bytes:    bytes,
		Elapsed:  time.Since(start),
	}, err
}

func (b *bulk) finish() error { return nil }

// all runs the given number of requests on every connection and returns the bytes moved.
func (b *bulk) all(requests int) (int64, error) {
	type outcome struct {
		bytes int64
		err   error
	}
	outcomes := make(chan outcome, len(b.conns))
	for _, conn := range b.conns {
		go func() {
			bytes, err := b.one(conn, requests)
			outcomes <- outcome{bytes, err}
		}()
	}
	var total int64
	var errs []error
	for range b.conns {
		o := <-outcomes
		total += o.bytes
		errs = append(errs, o.err)
	}
	return total, errors.Join(errs...)
}

func (b *bulk) one(conn net.Conn, requests int) (total int64, err error) {
	buf := make([]byte, bulkBuffer)
	for range requests {
		n, err := b.exchange(conn, buf)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

func (b *bulk) exchange(conn net.Conn, buf []byte) (int64, error) {
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if b.spec.Kind == loadDownload {
		if _, err := conn.Write(getRequest(b.spec.Addr, "/file")); err != nil {
			return 0, fmt.Errorf("requesting: %w", err)
		}
		return readResponse(conn, buf)
	}
	if _, err := conn.Write(putRequest(b.spec.Addr, "/upload", b.spec.Size)); err != nil {
		return 0, fmt.Errorf("uploading: %w", err)
	}
	if err := writeBody(conn, buf, b.spec.Size); err != nil {
		return 0, fmt.Errorf("uploading: %w", err)
	}
	_, err := readResponse(conn, buf)
	return b.spec.Size, err
}

func writeBody(w io.Writer, buf []byte, size int64) error {
	for size > 0 {
		n, err := w.Write(buf[:min(size, int64(len(buf)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
